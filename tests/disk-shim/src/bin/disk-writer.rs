//! Does to a folder what its arguments ask for, so that the shim can be tested without a broker:
//!
//! - `disk-writer random FOLDER SEED COUNT`: so many random changes in each of two threads
//! - `disk-writer each FOLDER`: one call of every kind, and prints how it went
//!
//! It has no opinion on errors: it prints them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice, Seek, SeekFrom, Write};
#[cfg(target_os = "linux")]
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::{env, thread};

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["random", folder, seed, count] => {
            let (seed, count) = (number(seed), number(count));
            thread::scope(|scope| {
                for thread in 0..2 {
                    let folder = Path::new(folder).join(format!("thread-{thread}"));
                    scope.spawn(move || random(folder, seed * 2 + thread, count));
                }
            });
        }
        ["each", folder] => each(Path::new(folder)),
        _ => panic!("disk-writer random FOLDER SEED COUNT | disk-writer each FOLDER"),
    }
}

fn number(digits: &str) -> u64 {
    digits.parse().expect("a number")
}

/// Tells how a call went.
fn told<T>(what: &str, result: io::Result<T>) -> Option<T> {
    match result {
        Ok(value) => {
            println!("{what}: ok");
            Some(value)
        }
        Err(error) => {
            println!("{what}: {error}");
            None
        }
    }
}

/// One call of each kind, in an order in which none depends on one that a rule may strike.
fn each(folder: &Path) {
    let path = |name: &str| folder.join(name);
    told("mkdir", fs::create_dir(path("folder")));
    told("rmdir", fs::remove_dir(path("folder")));
    if let Some(mut file) = told("create", File::create(path("file"))) {
        told("write", file.write(&[1; 1000]).map(|count| println!("written: {count}")));
        told("truncate", file.set_len(500));
        told("sync", file.sync_data());
        told("sync all", file.sync_all());
        told("range", range(&file));
        told("allocate", allocate(&file));
    }
    told("open", File::open(path("file")));
    told("link", fs::hard_link(path("file"), path("link")));
    told("rename", fs::rename(path("file"), path("renamed")));
    told("unlink", fs::remove_file(path("renamed")));
    told("syncfolder", File::open(folder).and_then(|folder| folder.sync_all()));
}

#[cfg(not(target_os = "linux"))]
fn range(_: &File) -> io::Result<()> {
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn allocate(_: &File) -> io::Result<()> {
    Ok(())
}

#[cfg(target_os = "linux")]
fn range(file: &File) -> io::Result<()> {
    // SAFETY: the descriptor is open.
    result(unsafe { libc::sync_file_range(file.as_raw_fd(), 0, 0, libc::SYNC_FILE_RANGE_WRITE) })
}

#[cfg(target_os = "linux")]
fn allocate(file: &File) -> io::Result<()> {
    // SAFETY: the descriptor is open.
    match unsafe { libc::posix_fallocate(file.as_raw_fd(), 0, 4096) } {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

#[cfg(target_os = "linux")]
fn result(code: i32) -> io::Result<()> {
    if code == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Random changes in a folder of its own, with several files open at a time.
fn random(folder: PathBuf, seed: u64, count: u64) {
    fs::create_dir(&folder).expect("a folder can be made");
    let mut writer = Writer { folder, random: seed, open: Vec::new() };
    for _ in 0..count {
        let _ = writer.change();
    }
}

struct Writer {
    folder: PathBuf,
    random: u64,
    open: Vec<File>,
}

impl Writer {
    /// SplitMix64.
    fn below(&mut self, limit: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }

    fn path(&mut self) -> PathBuf {
        let name = match self.below(12) {
            number @ 0..9 => format!("file-{number}"),
            number => format!("folder-{}/../folder-{0}/./inner-{}", number % 2, self.below(3)),
        };
        self.folder.join(name)
    }

    fn data(&mut self) -> Vec<u8> {
        let byte = u8::try_from(self.below(255)).unwrap_or(0) + 1;
        let length = usize::try_from(self.below(5000)).unwrap_or(0);
        vec![byte; length]
    }

    fn file(&mut self) -> io::Result<&mut File> {
        let count = u64::try_from(self.open.len()).unwrap_or(0);
        let index = usize::try_from(self.below(count.max(1))).unwrap_or(0);
        self.open.get_mut(index).ok_or(io::ErrorKind::NotFound.into())
    }

    /// One change, of whatever kind; it may fail, as names are random too.
    fn change(&mut self) -> io::Result<()> {
        let (path, data, offset) = (self.path(), self.data(), self.below(20_000));
        match self.below(20) {
            0 => self.open.push(File::create(path)?),
            1 => self.open.push(OpenOptions::new().append(true).create(true).open(path)?),
            2 => self.open.push(OpenOptions::new().write(true).open(path)?),
            3 if self.open.len() > 4 => drop(self.open.remove(0)),
            4 => {
                let clone = self.file()?.try_clone()?;
                self.open.push(clone);
            }
            5 | 6 => self.file()?.write_all(&data)?,
            7 | 8 => self.file()?.write_all_at(&data, offset)?,
            9 => drop(self.file()?.write_vectored(&[IoSlice::new(&data), IoSlice::new(b"end")])?),
            10 => drop(self.file()?.seek(SeekFrom::Start(offset))?),
            11 => self.file()?.set_len(offset)?,
            12 => fs::rename(self.path(), path)?,
            13 => fs::remove_file(path)?,
            14 => drop(fs::copy(self.path(), path)?),
            15 => fs::hard_link(self.path(), path)?,
            16 => drop(fs::create_dir(self.folder.join(format!("folder-{}", offset % 2)))),
            17 if offset < 4000 => fs::remove_dir_all(self.folder.join(format!("folder-{}", offset % 2)))?,
            18 => self.file()?.sync_data()?,
            _ => fs::write(path, data)?,
        }
        Ok(())
    }
}
