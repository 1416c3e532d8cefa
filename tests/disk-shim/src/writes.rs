//! Functions that change or sync what is in files.

use std::ffi::{c_int, c_uint, c_void};

use libc::{iovec, off_t, size_t, ssize_t};

use crate::record::Call;
use crate::rules::{Kind, Verdict};
use crate::sys;
use crate::watch::{OpenFile, Watch, watch};

/// Where a write goes.
#[derive(Clone, Copy)]
enum Position {
    /// At the file's position, or its end.
    Current,
    At(off_t),
}

/// The watched file behind a descriptor.
fn watched(fd: c_int) -> Option<(&'static Watch, OpenFile)> {
    let watch = watch()?;
    Some((watch, watch.open_file(fd)?))
}

fn failed(errno: c_int) -> c_int {
    sys::set_errno(errno);
    -1
}

/// Writes one piece, with everything around it.
///
/// # Safety
///
/// As for `write` and `pwrite`.
unsafe fn write_watched(fd: c_int, data: *const c_void, count: size_t, position: Position) -> ssize_t {
    let real = |count| match position {
        // SAFETY: the caller's promise; never more than the caller's count.
        Position::Current => unsafe { sys::write(fd, data, count) },
        // SAFETY: as above.
        Position::At(offset) => unsafe { sys::pwrite(fd, data, count, offset) },
    };
    let Some((watch, file)) = watched(fd) else { return real(count) };
    let count = match watch.decide(Kind::Write, &file.path) {
        Verdict::Fail(errno) => return failed(errno) as ssize_t,
        Verdict::Short => (count / 2).max(count.min(1)),
        Verdict::Go => count,
    };
    let start = sys::now_ns();
    let written = real(count);
    let Ok(length) = usize::try_from(written) else { return written };
    if watch.is_recording() && length > 0 {
        // SAFETY: so many bytes were just read from there.
        let data = unsafe { std::slice::from_raw_parts(data.cast::<u8>(), length) };
        let offset = offset_of(fd, position, written).cast_unsigned();
        watch.record(start, Call::Write { file: file.number, offset, data: data.to_vec() });
    }
    written
}

/// Writes several pieces, with everything around it.
///
/// # Safety
///
/// As for `writev` and `pwritev`.
unsafe fn write_pieces_watched(fd: c_int, pieces: *const iovec, count: c_int, position: Position) -> ssize_t {
    let real = || match position {
        // SAFETY: the caller's promise.
        Position::Current => unsafe { sys::writev(fd, pieces, count) },
        // SAFETY: as above.
        Position::At(offset) => unsafe { sys::pwritev(fd, pieces, count, offset) },
    };
    let Some((watch, file)) = watched(fd) else { return real() };
    let slices = match usize::try_from(count) {
        // SAFETY: the caller's promise.
        Ok(count) if count > 0 => unsafe { std::slice::from_raw_parts(pieces, count) },
        _ => return real(),
    };
    match watch.decide(Kind::Write, &file.path) {
        Verdict::Fail(errno) => return failed(errno) as ssize_t,
        Verdict::Short => {
            let Some(piece) = slices.iter().find(|piece| piece.iov_len > 0) else { return real() };
            let half = (piece.iov_len / 2).max(1);
            return match position {
                // SAFETY: the caller's promise; the rules do not strike twice, as nobody asks them again.
                Position::Current => unsafe { sys::write(fd, piece.iov_base, half) },
                // SAFETY: as above.
                Position::At(offset) => unsafe { sys::pwrite(fd, piece.iov_base, half, offset) },
            };
        }
        Verdict::Go => {}
    }
    let start = sys::now_ns();
    let written = real();
    let Ok(mut left) = usize::try_from(written) else { return written };
    if watch.is_recording() && left > 0 {
        let mut data = Vec::with_capacity(left);
        for piece in slices {
            let length = piece.iov_len.min(left);
            if length > 0 {
                // SAFETY: so many bytes were just read from there.
                data.extend(unsafe { std::slice::from_raw_parts(piece.iov_base.cast::<u8>(), length) });
            }
            left -= length;
        }
        let offset = offset_of(fd, position, written).cast_unsigned();
        watch.record(start, Call::Write { file: file.number, offset, data });
    }
    written
}

/// Where a write that has just ended began. After it, because only then the position of an appending file is known.
fn offset_of(fd: c_int, position: Position, written: ssize_t) -> off_t {
    // SAFETY: asks about a descriptor, good or not, here and below.
    let flags = unsafe { sys::fcntl(fd, libc::F_GETFL, 0) };
    match position {
        // Linux appends to such a file even where POSIX wants the offset heeded.
        Position::At(_) if flags & libc::O_APPEND != 0 => sys::length_of(fd) - written as off_t,
        Position::At(offset) => offset,
        // SAFETY: as above.
        Position::Current => unsafe { sys::lseek(fd, 0, libc::SEEK_CUR) - written as off_t },
    }
}

macro_rules! writing {
    ($($name:ident($($parameter:ident: $kind:ty),*) => $inner:ident($position:expr);)*) => {
        $(
            /// Writes to a file.
            ///
            /// # Safety
            ///
            /// As for the C library's function of this name.
            #[unsafe(no_mangle)]
            pub(crate) unsafe extern "C" fn $name(fd: c_int, $($parameter: $kind),*) -> ssize_t {
                // SAFETY: the caller's promise.
                unsafe { writing!(@call $inner(fd, $position, $($parameter),*)) }
            }
        )*
    };
    (@call $inner:ident($fd:ident, $position:expr, $data:ident, $count:ident $(, $offset:ident)?)) => {
        $inner($fd, $data, $count, $position)
    };
}

writing! {
    write(data: *const c_void, count: size_t) => write_watched(Position::Current);
    writev(data: *const iovec, count: c_int) => write_pieces_watched(Position::Current);
    pwrite(data: *const c_void, count: size_t, offset: off_t) => write_watched(Position::At(offset));
    pwrite64(data: *const c_void, count: size_t, offset: off_t) => write_watched(Position::At(offset));
    pwritev(data: *const iovec, count: c_int, offset: off_t) => write_pieces_watched(Position::At(offset));
    pwritev64(data: *const iovec, count: c_int, offset: off_t) => write_pieces_watched(Position::At(offset));
}

/// Makes a call about an open file, with everything around it.
fn about_file(
    fd: c_int,
    kind: impl FnOnce() -> Kind,
    real: impl FnOnce() -> c_int,
    call: impl FnOnce(u32) -> Option<Call>,
) -> c_int {
    let Some((watch, file)) = watched(fd) else { return real() };
    if let Verdict::Fail(errno) = watch.decide(kind(), &file.path) {
        return failed(errno);
    }
    let start = sys::now_ns();
    let result = real();
    if result == 0
        && let Some(call) = call(file.number)
    {
        watch.record(start, call);
    }
    result
}

/// Sets a file's length.
///
/// # Safety
///
/// As for the C library's function of this name.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn ftruncate(fd: c_int, length: off_t) -> c_int {
    // SAFETY: the caller's promise.
    let real = || unsafe { sys::ftruncate(fd, length) };
    let call = |file| Some(Call::Truncate { file, length: length.cast_unsigned() });
    about_file(fd, || Kind::Truncate, real, call)
}

/// Sets a file's length.
///
/// # Safety
///
/// As for the C library's function of this name.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn ftruncate64(fd: c_int, length: off_t) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { ftruncate(fd, length) }
}

/// Reserves space. Recorded as the growth of the file that comes with it; what else a mode asks for is refused.
///
/// # Safety
///
/// As for the C library's function of this name.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn fallocate(fd: c_int, mode: c_int, offset: off_t, length: off_t) -> c_int {
    // SAFETY: the caller's promise.
    let real = || unsafe { sys::fallocate(fd, mode, offset, length) };
    if mode & !libc::FALLOC_FL_KEEP_SIZE != 0 && watched(fd).is_some() {
        return failed(libc::EOPNOTSUPP);
    }
    let before = sys::length_of(fd);
    let grown = (offset + length > before && mode == 0).then_some((offset + length).cast_unsigned());
    about_file(fd, || Kind::Allocate, real, |file| grown.map(|length| Call::Truncate { file, length }))
}

/// Reserves space.
///
/// # Safety
///
/// As for the C library's function of this name.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn fallocate64(fd: c_int, mode: c_int, offset: off_t, length: off_t) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { fallocate(fd, mode, offset, length) }
}

/// Reserves space; tells errors by its result.
///
/// # Safety
///
/// As for the C library's function of this name.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn posix_fallocate(fd: c_int, offset: off_t, length: off_t) -> c_int {
    // SAFETY: the caller's promise.
    if unsafe { fallocate(fd, 0, offset, length) } == 0 { 0 } else { sys::errno() }
}

/// Reserves space; tells errors by its result.
///
/// # Safety
///
/// As for the C library's function of this name.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn posix_fallocate64(fd: c_int, offset: off_t, length: off_t) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { posix_fallocate(fd, offset, length) }
}

fn sync(fd: c_int, real: impl FnOnce() -> c_int) -> c_int {
    let kind = || if sys::is_folder(fd) { Kind::SyncFolder } else { Kind::Sync };
    about_file(fd, kind, real, |file| Some(Call::Sync { file }))
}

/// Asks data and metadata onto the disk.
///
/// # Safety
///
/// As for the C library's function of this name.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn fsync(fd: c_int) -> c_int {
    // SAFETY: the caller's promise.
    sync(fd, || unsafe { sys::fsync(fd) })
}

/// Asks data onto the disk.
///
/// # Safety
///
/// As for the C library's function of this name.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn fdatasync(fd: c_int) -> c_int {
    // SAFETY: the caller's promise.
    sync(fd, || unsafe { sys::fdatasync(fd) })
}

/// Starts or awaits the writing of pages, which makes nothing durable: not the file's length, nor the disk's own cache.
///
/// # Safety
///
/// As for the C library's function of this name.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn sync_file_range(
    fd: c_int,
    offset: off_t,
    length: off_t,
    flags: c_uint,
) -> c_int {
    // SAFETY: the caller's promise.
    about_file(fd, || Kind::Range, || unsafe { sys::sync_file_range(fd, offset, length, flags) }, |_| None)
}

/// Copies inside the kernel; refused for watched files, so that callers write instead.
///
/// # Safety
///
/// As for the C library's function of this name.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn copy_file_range(
    from: c_int,
    from_at: *mut off_t,
    to: c_int,
    to_at: *mut off_t,
    count: size_t,
    flags: c_uint,
) -> ssize_t {
    if watched(to).is_some() {
        return failed(libc::ENOSYS) as ssize_t;
    }
    // SAFETY: the caller's promise.
    unsafe { sys::copy_file_range(from, from_at, to, to_at, count, flags) }
}

/// Copies inside the kernel; refused for watched files, so that callers write instead.
///
/// # Safety
///
/// As for the C library's function of this name.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn sendfile(
    to: c_int,
    from: c_int,
    offset: *mut off_t,
    count: size_t,
) -> ssize_t {
    if watched(to).is_some() {
        return failed(libc::ENOSYS) as ssize_t;
    }
    // SAFETY: the caller's promise.
    unsafe { sys::sendfile(to, from, offset, count) }
}

/// Copies inside the kernel; refused for watched files, so that callers write instead.
///
/// # Safety
///
/// As for the C library's function of this name.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn sendfile64(
    to: c_int,
    from: c_int,
    offset: *mut off_t,
    count: size_t,
) -> ssize_t {
    // SAFETY: the caller's promise.
    unsafe { sendfile(to, from, offset, count) }
}
