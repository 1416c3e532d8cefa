//! Functions that open, duplicate and close.

use std::ffi::{c_char, c_int, c_long};

use libc::mode_t;

use crate::record::Call;
use crate::rules::{Kind, Verdict};
use crate::sys;
use crate::watch::{closing, duplicated, watch};

/// Opens, with everything around it.
///
/// # Safety
///
/// As for `openat`.
unsafe fn open_watched(dir: c_int, path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    // SAFETY: the caller's promise, here and below.
    let real = || unsafe { sys::openat(dir, path, flags, mode) };
    let Some(watch) = watch() else { return real() };
    // SAFETY: as above.
    let Some(relative) = (unsafe { watch.relative(dir, path) }) else { return real() };
    if flags & libc::O_TMPFILE == libc::O_TMPFILE {
        // A file without a name is more than the recording knows; callers fall back to one with a name.
        sys::set_errno(libc::EOPNOTSUPP);
        return -1;
    }
    // SAFETY: as above.
    let exists = || unsafe { sys::faccessat(dir, path, libc::F_OK) } == 0;
    let creates = flags & libc::O_CREAT != 0;
    let kind = if creates && !exists() { Kind::Create } else { Kind::Open };
    if let Verdict::Fail(errno) = watch.decide(kind, &relative) {
        sys::set_errno(errno);
        return -1;
    }
    let mut files = watch.files();
    let created = creates && !exists();
    let start = sys::now_ns();
    let fd = real();
    if fd >= 0 {
        let file = files.opened(fd, &relative, created);
        let truncated = flags & libc::O_TRUNC != 0 && !created;
        watch.record(start, Call::Open { file, path: relative, created, truncated });
    }
    fd
}

macro_rules! opening {
    ($($name:ident($($parameter:ident: $kind:ty),*) => ($dir:expr, $path:expr, $flags:expr, $mode:expr);)*) => {
        $(
            /// Opens a file.
            ///
            /// # Safety
            ///
            /// As for the C library's function of this name.
            #[unsafe(no_mangle)]
            pub(crate) unsafe extern "C" fn $name($($parameter: $kind),*) -> c_int {
                // SAFETY: the caller's promise.
                unsafe { open_watched($dir, $path, $flags, $mode) }
            }
        )*
    };
}

const CREAT: c_int = libc::O_CREAT | libc::O_WRONLY | libc::O_TRUNC;

opening! {
    open(path: *const c_char, flags: c_int, mode: mode_t) => (libc::AT_FDCWD, path, flags, mode);
    open64(path: *const c_char, flags: c_int, mode: mode_t) => (libc::AT_FDCWD, path, flags, mode);
    openat(dir: c_int, path: *const c_char, flags: c_int, mode: mode_t) => (dir, path, flags, mode);
    openat64(dir: c_int, path: *const c_char, flags: c_int, mode: mode_t) => (dir, path, flags, mode);
    creat(path: *const c_char, mode: mode_t) => (libc::AT_FDCWD, path, CREAT, mode);
    creat64(path: *const c_char, mode: mode_t) => (libc::AT_FDCWD, path, CREAT, mode);
}

/// Closes a file descriptor.
///
/// # Safety
///
/// As for the C library's function of this name.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn close(fd: c_int) -> c_int {
    closing(fd);
    // SAFETY: the caller's promise.
    unsafe { sys::close(fd) }
}

/// Duplicates a file descriptor.
///
/// # Safety
///
/// As for the C library's function of this name.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn dup(fd: c_int) -> c_int {
    // SAFETY: the caller's promise.
    noted(fd, unsafe { sys::dup(fd) })
}

/// Duplicates a file descriptor to a given number.
///
/// # Safety
///
/// As for the C library's function of this name.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn dup2(from: c_int, to: c_int) -> c_int {
    if from == to {
        // SAFETY: asks about a descriptor, good or not.
        return if unsafe { sys::fcntl(from, libc::F_GETFD, 0) } < 0 { -1 } else { to };
    }
    // SAFETY: the caller's promise.
    noted(from, unsafe { sys::dup3(from, to, 0) })
}

/// Duplicates a file descriptor to a given number.
///
/// # Safety
///
/// As for the C library's function of this name.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn dup3(from: c_int, to: c_int, flags: c_int) -> c_int {
    // SAFETY: the caller's promise.
    noted(from, unsafe { sys::dup3(from, to, flags) })
}

fn noted(from: c_int, to: c_int) -> c_int {
    if to >= 0 && watch().is_some() {
        duplicated(from, to);
    }
    to
}

/// Everything else about a file descriptor, duplication included.
///
/// # Safety
///
/// As for the C library's function of this name.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn fcntl(fd: c_int, command: c_int, argument: c_long) -> c_int {
    // SAFETY: the caller's promise.
    let result = unsafe { sys::fcntl(fd, command, argument) };
    if matches!(command, libc::F_DUPFD | libc::F_DUPFD_CLOEXEC) { noted(fd, result) } else { result }
}

/// Everything else about a file descriptor, duplication included.
///
/// # Safety
///
/// As for the C library's function of this name.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn fcntl64(fd: c_int, command: c_int, argument: c_long) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { fcntl(fd, command, argument) }
}
