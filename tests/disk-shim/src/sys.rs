//! System calls without the C library's functions, which this library replaces: calling those would call ourselves. Errors
//! are told as the C library does, by -1 and `errno`.

use std::ffi::{c_char, c_int, c_long, c_uint, c_void};

use libc::{iovec, mode_t, off_t, size_t, ssize_t, syscall};

/// Results of these calls fit: they are file descriptors, zero or -1.
#[allow(clippy::cast_possible_truncation)]
fn int(result: c_long) -> c_int {
    result as c_int
}

#[allow(clippy::cast_possible_truncation)]
fn size(result: c_long) -> ssize_t {
    result as ssize_t
}

fn long(result: c_long) -> c_long {
    result
}

macro_rules! calls {
    ($($(#[$doc:meta])* $convert:ident $name:ident = $number:ident ( $($parameter:ident : $kind:ty),* $(; $extra:expr)* ) -> $result:ty;)*) => {
        $(
            $(#[$doc])*
            /// # Safety
            /// As for the C library's function of this name.
            pub(crate) unsafe fn $name($($parameter: $kind),*) -> $result {
                // SAFETY: the caller keeps to the rules of the C library's function, which are those of the system call.
                $convert(unsafe { syscall(libc::$number, $($parameter),* $(, $extra)*) })
            }
        )*
    };
}

calls! {
    /// Opens a file.
    int openat = SYS_openat(dir: c_int, path: *const c_char, flags: c_int, mode: mode_t) -> c_int;
    /// Closes a file descriptor.
    int close = SYS_close(fd: c_int) -> c_int;
    /// Duplicates a file descriptor.
    int dup = SYS_dup(fd: c_int) -> c_int;
    /// Duplicates a file descriptor to a given number.
    int dup3 = SYS_dup3(from: c_int, to: c_int, flags: c_int) -> c_int;
    /// Everything else about a file descriptor.
    int fcntl = SYS_fcntl(fd: c_int, command: c_int, argument: c_long) -> c_int;
    /// Writes at the file's position.
    size write = SYS_write(fd: c_int, data: *const c_void, count: size_t) -> ssize_t;
    /// Writes several pieces at the file's position.
    size writev = SYS_writev(fd: c_int, pieces: *const iovec, count: c_int) -> ssize_t;
    /// Writes at an offset.
    size pwrite = SYS_pwrite64(fd: c_int, data: *const c_void, count: size_t, offset: off_t) -> ssize_t;
    /// Writes several pieces at an offset, whose upper half is a parameter of its own.
    size pwritev = SYS_pwritev(fd: c_int, pieces: *const iovec, count: c_int, offset: off_t; 0 as c_long) -> ssize_t;
    /// The file's position.
    long lseek = SYS_lseek(fd: c_int, offset: off_t, whence: c_int) -> off_t;
    /// Sets the length.
    int ftruncate = SYS_ftruncate(fd: c_int, length: off_t) -> c_int;
    /// Reserves space.
    int fallocate = SYS_fallocate(fd: c_int, mode: c_int, offset: off_t, length: off_t) -> c_int;
    /// Asks data and metadata onto the disk.
    int fsync = SYS_fsync(fd: c_int) -> c_int;
    /// Asks data onto the disk.
    int fdatasync = SYS_fdatasync(fd: c_int) -> c_int;
    /// Starts or awaits the writing of pages.
    int sync_file_range = SYS_sync_file_range(fd: c_int, offset: off_t, length: off_t, flags: c_uint) -> c_int;
    /// Renames.
    int renameat2 = SYS_renameat2(from_dir: c_int, from: *const c_char, to_dir: c_int, to: *const c_char, flags: c_uint) -> c_int;
    /// Gives a file a second path.
    int linkat = SYS_linkat(from_dir: c_int, from: *const c_char, to_dir: c_int, to: *const c_char, flags: c_int) -> c_int;
    /// Removes a path.
    int unlinkat = SYS_unlinkat(dir: c_int, path: *const c_char, flags: c_int) -> c_int;
    /// Makes a folder.
    int mkdirat = SYS_mkdirat(dir: c_int, path: *const c_char, mode: mode_t) -> c_int;
    /// Whether a path can be reached.
    int faccessat = SYS_faccessat(dir: c_int, path: *const c_char, mode: c_int) -> c_int;
    /// Copies inside the kernel.
    size copy_file_range = SYS_copy_file_range(from: c_int, from_at: *mut off_t, to: c_int, to_at: *mut off_t, count: size_t, flags: c_uint) -> ssize_t;
    /// Copies inside the kernel.
    size sendfile = SYS_sendfile(to: c_int, from: c_int, offset: *mut off_t, count: size_t) -> ssize_t;
}

/// The time in nanoseconds that the tests see as well.
pub(crate) fn now_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a value of our own.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    // Time since the start of the machine is not negative.
    time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned()
}

/// The last error of this thread.
pub(crate) fn errno() -> c_int {
    // SAFETY: the C library promises a valid pointer.
    unsafe { *libc::__errno_location() }
}

/// Sets the last error of this thread.
pub(crate) fn set_errno(error: c_int) {
    // SAFETY: the C library promises a valid pointer.
    unsafe { *libc::__errno_location() = error };
}

/// What the kernel tells about an open file.
fn stat_of(fd: c_int) -> Option<libc::stat> {
    // SAFETY: all zeros is a valid value of this plain structure.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a value of our own; a bad descriptor is an error, not undefined.
    let result = unsafe { libc::fstat(fd, &raw mut stat) };
    (result == 0).then_some(stat)
}

/// Device and inode of an open file.
pub(crate) fn inode_of(fd: c_int) -> Option<(u64, u64)> {
    stat_of(fd).map(|stat| (stat.st_dev, stat.st_ino))
}

/// The length of an open file, zero without one.
pub(crate) fn length_of(fd: c_int) -> off_t {
    stat_of(fd).map_or(0, |stat| stat.st_size)
}

/// Whether an open file is a folder.
pub(crate) fn is_folder(fd: c_int) -> bool {
    stat_of(fd).is_some_and(|stat| stat.st_mode & libc::S_IFMT == libc::S_IFDIR)
}
