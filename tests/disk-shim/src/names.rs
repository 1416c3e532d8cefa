//! Functions that change which names there are.

use std::ffi::{c_char, c_int, c_uint};

use libc::{AT_FDCWD, AT_REMOVEDIR, mode_t};

use crate::record::Call;
use crate::rules::{Kind, Verdict};
use crate::sys;
use crate::watch::{Files, watch};

/// Makes a call about one path, with everything around it.
///
/// # Safety
///
/// `path` is a C string.
unsafe fn about_path(
    dir: c_int,
    path: *const c_char,
    kind: Kind,
    real: impl FnOnce() -> c_int,
    call: impl FnOnce(String) -> Call,
) -> c_int {
    let Some(watch) = watch() else { return real() };
    // SAFETY: the caller's promise.
    let Some(relative) = (unsafe { watch.relative(dir, path) }) else { return real() };
    if let Verdict::Fail(errno) = watch.decide(kind, &relative) {
        sys::set_errno(errno);
        return -1;
    }
    let _files = watch.files();
    let start = sys::now_ns();
    let result = real();
    if result == 0 {
        watch.record(start, call(relative));
    }
    result
}

/// A folder's descriptor and a path as the C library's functions take them.
#[derive(Clone, Copy)]
struct Place(c_int, *const c_char);

/// Makes a call about two paths, with everything around it.
///
/// # Safety
///
/// Both paths are C strings.
unsafe fn about_two_paths(
    from: Place,
    to: Place,
    kind: Kind,
    real: impl FnOnce() -> c_int,
    done: impl FnOnce(&mut Files, String, String) -> Call,
) -> c_int {
    let Some(watch) = watch() else { return real() };
    // SAFETY: the caller's promise, twice.
    let places = unsafe { (watch.relative(from.0, from.1), watch.relative(to.0, to.1)) };
    let (from, to) = match places {
        (Some(from), Some(to)) => (from, to),
        (None, None) => return real(),
        // Into the folder or out of it: the recording knows no outside.
        _ => {
            sys::set_errno(libc::EXDEV);
            return -1;
        }
    };
    if let Verdict::Fail(errno) = watch.decide(kind, &to) {
        sys::set_errno(errno);
        return -1;
    }
    let mut files = watch.files();
    let start = sys::now_ns();
    let result = real();
    if result == 0 {
        watch.record(start, done(&mut files, from, to));
    }
    result
}

/// Removes a path.
///
/// # Safety
///
/// As for the C library's function of this name.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn unlinkat(dir: c_int, path: *const c_char, flags: c_int) -> c_int {
    // SAFETY: the caller's promise, here and below.
    let real = || unsafe { sys::unlinkat(dir, path, flags) };
    if flags & AT_REMOVEDIR == 0 {
        // SAFETY: as above.
        unsafe { about_path(dir, path, Kind::Unlink, real, |path| Call::Unlink { path }) }
    } else {
        // SAFETY: as above.
        unsafe { about_path(dir, path, Kind::Rmdir, real, |path| Call::Rmdir { path }) }
    }
}

/// Removes a file's path.
///
/// # Safety
///
/// As for the C library's function of this name.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn unlink(path: *const c_char) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { unlinkat(AT_FDCWD, path, 0) }
}

/// Removes an empty folder.
///
/// # Safety
///
/// As for the C library's function of this name.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn rmdir(path: *const c_char) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { unlinkat(AT_FDCWD, path, AT_REMOVEDIR) }
}

/// Makes a folder.
///
/// # Safety
///
/// As for the C library's function of this name.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn mkdirat(dir: c_int, path: *const c_char, mode: mode_t) -> c_int {
    // SAFETY: the caller's promise, here and below.
    let real = || unsafe { sys::mkdirat(dir, path, mode) };
    // SAFETY: as above.
    unsafe { about_path(dir, path, Kind::Mkdir, real, |path| Call::Mkdir { path }) }
}

/// Makes a folder.
///
/// # Safety
///
/// As for the C library's function of this name.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn mkdir(path: *const c_char, mode: mode_t) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { mkdirat(AT_FDCWD, path, mode) }
}

/// Renames.
///
/// # Safety
///
/// As for the C library's function of this name.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn renameat2(
    from_dir: c_int,
    from: *const c_char,
    to_dir: c_int,
    to: *const c_char,
    flags: c_uint,
) -> c_int {
    if flags & !libc::RENAME_NOREPLACE != 0 && watch().is_some() {
        // An exchange, which the recording does not know; no caller uses it.
        sys::set_errno(libc::EINVAL);
        return -1;
    }
    // SAFETY: the caller's promise, here and below.
    let real = || unsafe { sys::renameat2(from_dir, from, to_dir, to, flags) };
    let (from, to) = (Place(from_dir, from), Place(to_dir, to));
    let done = |files: &mut Files, from: String, to: String| {
        files.renamed(&from, &to);
        Call::Rename { from, to }
    };
    // SAFETY: as above.
    unsafe { about_two_paths(from, to, Kind::Rename, real, done) }
}

/// Renames.
///
/// # Safety
///
/// As for the C library's function of this name.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn renameat(
    from_dir: c_int,
    from: *const c_char,
    to_dir: c_int,
    to: *const c_char,
) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { renameat2(from_dir, from, to_dir, to, 0) }
}

/// Renames.
///
/// # Safety
///
/// As for the C library's function of this name.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn rename(from: *const c_char, to: *const c_char) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { renameat2(AT_FDCWD, from, AT_FDCWD, to, 0) }
}

/// Gives a file a second path.
///
/// # Safety
///
/// As for the C library's function of this name.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn linkat(
    from_dir: c_int,
    from: *const c_char,
    to_dir: c_int,
    to: *const c_char,
    flags: c_int,
) -> c_int {
    // SAFETY: the caller's promise, here and below.
    let real = || unsafe { sys::linkat(from_dir, from, to_dir, to, flags) };
    let (from, to) = (Place(from_dir, from), Place(to_dir, to));
    // SAFETY: as above.
    unsafe { about_two_paths(from, to, Kind::Link, real, |_, from, to| Call::Link { from, to }) }
}

/// Gives a file a second path.
///
/// # Safety
///
/// As for the C library's function of this name.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn link(from: *const c_char, to: *const c_char) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { linkat(AT_FDCWD, from, AT_FDCWD, to, 0) }
}
