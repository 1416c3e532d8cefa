//! [`LocalSocket`]: the Unix socket in the data folder, over which whoever owns the folder administers the broker without a password.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

/// Its name in the data folder.
pub(super) const NAME: &str = "ctl.sock";

/// Only the user that the broker runs as, and root.
const MODE: u32 = 0o600;

/// A socket file that is removed when this is dropped.
#[derive(Debug)]
pub(crate) struct LocalSocket {
    path: PathBuf,
    listener: UnixListener,
}

impl LocalSocket {
    /// Opens it. A file of this name is one that a killed broker left: the folder is ours.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(path)?;
        let socket = Self { path: path.to_owned(), listener };
        // Others could connect until here if the folder let them in; they are told apart again when they do.
        fs::set_permissions(path, Permissions::from_mode(MODE))?;
        socket.listener.set_nonblocking(true)?;
        Ok(socket)
    }

    /// The listening end.
    pub(crate) fn listener(&self) -> io::Result<UnixListener> {
        self.listener.try_clone()
    }
}

impl Drop for LocalSocket {
    fn drop(&mut self) {
        // It may be gone already, with its folder.
        let _ = fs::remove_file(&self.path);
    }
}

/// Whether a peer with this user id may administer the broker.
pub(super) fn is_owner(uid: u32) -> bool {
    uid == 0 || uid == rustix::process::geteuid().as_raw()
}
