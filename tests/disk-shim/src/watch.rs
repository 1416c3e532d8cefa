//! What is watched: the folder, the files in it that are open, the rules, and the recording. It is set up once, when the
//! library is loaded, from environment variables; without `DISK_SHIM_FOLDER` there is nothing, and every call goes straight
//! to the kernel.

use std::collections::HashMap;
use std::env;
use std::ffi::{CStr, CString, OsString, c_char, c_int};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use crate::record::{Call, Record};
use crate::rules::{self, Kind, Rule, Verdict};
use crate::sys;

/// Descriptors are handed out from the lowest free number on, and no test comes near this many.
const DESCRIPTORS: usize = 1 << 16;

/// The number of the file that a descriptor stands for; zero is none. Outside of the lock, so that calls on sockets, which
/// are most, cost one look, and so that a signal handler may write to one.
static OPEN: [AtomicU32; DESCRIPTORS] = [const { AtomicU32::new(0) }; DESCRIPTORS];

static WATCH: OnceLock<Watch> = OnceLock::new();

/// Everything that one process watches.
#[derive(Debug)]
pub(crate) struct Watch {
    folder: PathBuf,
    rules: Vec<Rule>,
    recording: Option<c_int>,
    struck: Option<c_int>,
    files: Mutex<Files>,
}

/// The files opened so far. Held for the whole of a call that changes names, so that such calls are recorded in their order.
#[derive(Debug, Default)]
pub(crate) struct Files {
    numbers: HashMap<(u64, u64), u32>,
    // By number less one.
    known: Vec<File>,
}

#[derive(Debug)]
struct File {
    inode: (u64, u64),
    path: String,
}

/// A file behind a descriptor.
#[derive(Debug)]
pub(crate) struct OpenFile {
    pub(crate) number: u32,
    pub(crate) path: String,
}

/// Sets up what is watched.
pub(crate) fn start() {
    let Some(folder) = env::var_os("DISK_SHIM_FOLDER") else { return };
    let rules = env::var("DISK_SHIM_RULES").unwrap_or_default();
    let rules = rules::parse(&rules).unwrap_or_else(|error| give_up(&format!("not understood: {error}")));
    let watch = Watch {
        folder: PathBuf::from(folder),
        rules,
        recording: env::var_os("DISK_SHIM_RECORDING").map(open_for_appending),
        struck: env::var_os("DISK_SHIM_STRUCK").map(open_for_appending),
        files: Mutex::default(),
    };
    let now = sys::now_ns();
    watch.record(now, Call::Process { id: std::process::id() });
    let _ = WATCH.set(watch);
}

/// What is watched, if anything.
pub(crate) fn watch() -> Option<&'static Watch> {
    WATCH.get()
}

fn open_for_appending(path: OsString) -> c_int {
    let path = CString::new(path.into_vec()).unwrap_or_default();
    let flags = libc::O_CREAT | libc::O_WRONLY | libc::O_APPEND | libc::O_CLOEXEC;
    // SAFETY: the path is a C string that outlives the call.
    let fd = unsafe { sys::openat(libc::AT_FDCWD, path.as_ptr(), flags, 0o644) };
    if fd < 0 { give_up(&format!("cannot open {path:?}")) } else { fd }
}

/// A test that believes in a recording or a fault that is not there would pass for nothing.
fn give_up(why: &str) -> ! {
    append(2, format!("disk shim: {why}\n").as_bytes());
    std::process::abort()
}

/// Appends in one call, so that threads do not mix.
fn append(fd: c_int, bytes: &[u8]) {
    // SAFETY: the pointer and the length are those of one slice.
    let written = unsafe { sys::write(fd, bytes.as_ptr().cast(), bytes.len()) };
    if written.cast_unsigned() != bytes.len() && fd != 2 {
        give_up("cannot write what it has seen");
    }
}

impl Watch {
    pub(crate) fn files(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends a call that began at `start_ns` and has just ended. Keeps the thread's `errno`.
    pub(crate) fn record(&self, start_ns: u64, call: Call) {
        if let Some(fd) = self.recording {
            let errno = sys::errno();
            append(fd, &Record { start_ns, end_ns: sys::now_ns(), call }.encode());
            sys::set_errno(errno);
        }
    }

    /// Whether calls are recorded, and their data is wanted.
    pub(crate) fn is_recording(&self) -> bool {
        self.recording.is_some()
    }

    /// What the rules say about a call.
    pub(crate) fn decide(&self, kind: Kind, path: &str) -> Verdict {
        let errno = sys::errno();
        let verdict = rules::decide(&self.rules, kind, path, |number| {
            if let Some(fd) = self.struck {
                append(fd, format!("{number} {} {path}\n", kind.name()).as_bytes());
            }
        });
        sys::set_errno(errno);
        verdict
    }

    /// The path relative to the folder, if it is in there.
    ///
    /// # Safety
    ///
    /// `path` is a C string.
    pub(crate) unsafe fn relative(&self, dir: c_int, path: *const c_char) -> Option<String> {
        if path.is_null() {
            return None;
        }
        // SAFETY: the caller's promise.
        let path = unsafe { CStr::from_ptr(path) };
        let path = Path::new(std::ffi::OsStr::from_bytes(path.to_bytes()));
        let absolute = if path.is_absolute() {
            path.to_owned()
        } else if dir == libc::AT_FDCWD {
            env::current_dir().ok()?.join(path)
        } else {
            self.folder.join(self.open_file(dir)?.path).join(path)
        };
        let normal = without_dots(&absolute);
        Some(normal.strip_prefix(&self.folder).ok()?.to_str()?.to_owned())
    }

    /// The watched file that a descriptor stands for.
    pub(crate) fn open_file(&self, fd: c_int) -> Option<OpenFile> {
        let slot = OPEN.get(usize::try_from(fd).ok()?)?;
        let number = slot.load(Ordering::SeqCst);
        let index = usize::try_from(number.checked_sub(1)?).ok()?;
        let errno = sys::errno();
        let inode = sys::inode_of(fd);
        sys::set_errno(errno);
        let files = self.files();
        let file = files.known.get(index)?;
        if inode != Some(file.inode) {
            // Closed behind our back, as `closedir` does, and handed out again for something else.
            slot.store(0, Ordering::SeqCst);
            return None;
        }
        Some(OpenFile { number, path: file.path.clone() })
    }
}

/// Without `.`, `..` and double slashes; symbolic links are not followed, as there are none.
fn without_dots(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                normal.pop();
            }
            other => normal.push(other),
        }
    }
    normal
}

impl Files {
    /// Notes that a descriptor was opened for a path, and returns the file's number.
    pub(crate) fn opened(&mut self, fd: c_int, path: &str, created: bool) -> u32 {
        let Some(inode) = sys::inode_of(fd) else { give_up("a file just opened is not there") };
        let known = if created { None } else { self.numbers.get(&inode).copied() };
        let number = known.unwrap_or_else(|| {
            self.known.push(File { inode, path: String::new() });
            u32::try_from(self.known.len()).unwrap_or_else(|_| give_up("too many files"))
        });
        self.numbers.insert(inode, number);
        if let Some(file) = usize::try_from(number - 1).ok().and_then(|index| self.known.get_mut(index)) {
            path.clone_into(&mut file.path);
        }
        set(fd, number);
        number
    }

    /// Notes that everything at or below a path is elsewhere.
    pub(crate) fn renamed(&mut self, from: &str, to: &str) {
        for file in &mut self.known {
            if let Ok(below) = Path::new(&file.path).strip_prefix(from) {
                let path =
                    if below.as_os_str().is_empty() { PathBuf::from(to) } else { Path::new(to).join(below) };
                file.path = path.to_string_lossy().into_owned();
            }
        }
    }
}

/// Notes that a descriptor stands for the same as another.
pub(crate) fn duplicated(from: c_int, to: c_int) {
    let number =
        usize::try_from(from).ok().and_then(|fd| OPEN.get(fd)).map_or(0, |slot| slot.load(Ordering::SeqCst));
    set(to, number);
}

/// Notes that a descriptor stands for nothing any more. Before it is closed, as it may be handed out again at once.
pub(crate) fn closing(fd: c_int) {
    if let Some(slot) = usize::try_from(fd).ok().and_then(|fd| OPEN.get(fd)) {
        slot.store(0, Ordering::SeqCst);
    }
}

fn set(fd: c_int, number: u32) {
    match usize::try_from(fd).ok().and_then(|fd| OPEN.get(fd)) {
        Some(slot) => slot.store(number, Ordering::SeqCst),
        None if number == 0 => {}
        None => give_up("a descriptor beyond its table"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lose_their_dots() {
        let table = [("/a/./b//c", "/a/b/c"), ("/a/../b", "/b"), ("/a/b/..", "/a"), ("/", "/")];
        for (path, normal) in table {
            assert_eq!(without_dots(Path::new(path)), Path::new(normal), "{path}");
        }
    }

    #[test]
    fn a_renamed_folder_takes_its_files_along() {
        let file = |path: &str| File { inode: (0, 0), path: path.to_owned() };
        let mut files = Files { numbers: HashMap::new(), known: vec![file("a/1"), file("ab"), file("a")] };
        files.renamed("a", "c/d");
        assert_eq!(
            files.known.iter().map(|file| file.path.as_str()).collect::<Vec<_>>(),
            ["c/d/1", "ab", "c/d"]
        );
    }
}
