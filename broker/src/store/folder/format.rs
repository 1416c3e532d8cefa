//! The file `format` of a data folder: which version's rules everything else in the folder follows.
//!
//! A number, not a version of the program: it changes only when an older Warren could not read what a newer one wrote.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::path::Path;

use super::{FolderError, LOCK_FILE, sync_folder};

/// The format that this version reads and writes.
pub const FORMAT: u64 = 1;

const FORMAT_FILE: &str = "format";

/// What the file is called until all of it is on the disk.
const UNFINISHED_FILE: &str = "format.new";

/// There while a backup is restored. Once there is a `format` it means nothing any more.
const RESTORING_FILE: &str = "restoring";

const TITLE: &str = "warren data folder";

/// More than this and the file is something else.
const FILE_BYTES_MAX: u64 = 4096;

/// What is there to begin with: file systems make `lost+found` in their root, and a broker that was ended while it made
/// the folder leaves the others.
const UNSUSPICIOUS: [&str; 3] = ["lost+found", LOCK_FILE, UNFINISHED_FILE];

/// What a folder turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// Of the format that this version reads.
    Readable,
    /// Nothing in it, or not even there.
    None,
}

/// Refuses a folder that is another program's or a later version's.
pub(super) fn check(folder: &Path) -> Result<Found, FolderError> {
    let path = folder.join(FORMAT_FILE);
    let text = match read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return check_empty(folder),
        Err(error) if error.kind() == ErrorKind::NotADirectory => {
            return Err(FolderError::NotAFolder { path: folder.to_owned() });
        }
        Err(source) => return Err(FolderError::from_io("read", path, source)),
    };
    match parse(&text) {
        Ok(FORMAT) => Ok(Found::Readable),
        Ok(format) if format > FORMAT => Err(FolderError::Newer { folder: folder.to_owned(), format }),
        Ok(_) => Err(FolderError::BadFormat { path, problem: "there was never such a format" }),
        Err(problem) => Err(FolderError::BadFormat { path, problem }),
    }
}

/// Marks an empty folder as one of this format. It is on the disk when this returns, whole or, before that, not at all.
pub(super) fn write(folder: &Path) -> Result<(), FolderError> {
    let unfinished = folder.join(UNFINISHED_FILE);
    let written = || -> io::Result<()> {
        let mut file = File::create(&unfinished)?;
        file.write_all(format!("{TITLE}\nformat {FORMAT}\n").as_bytes())?;
        file.sync_all()?;
        fs::rename(&unfinished, folder.join(FORMAT_FILE))
    };
    written().map_err(|source| FolderError::from_io("write", unfinished.clone(), source))?;
    sync_folder(folder)
}

/// Marks an empty folder as one that a backup is being restored into.
pub(super) fn write_restoring(folder: &Path) -> Result<(), FolderError> {
    let path = folder.join(RESTORING_FILE);
    let written = File::create(&path).and_then(|file| file.sync_all());
    written.map_err(|source| FolderError::from_io("write", path, source))?;
    sync_folder(folder)
}

/// Takes the mark away.
pub(super) fn remove_restoring(folder: &Path) -> Result<(), FolderError> {
    let path = folder.join(RESTORING_FILE);
    fs::remove_file(&path).map_err(|source| FolderError::from_io("remove", path, source))?;
    sync_folder(folder)
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The number in the file's second line. Later formats may add lines, so what follows is passed over.
fn parse(bytes: &[u8]) -> Result<u64, &'static str> {
    if bytes.is_empty() {
        return Err("it is empty");
    }
    let text = str::from_utf8(bytes).map_err(|_| "it is not text")?;
    let mut lines = text.lines();
    if lines.next() != Some(TITLE) {
        return Err("its first line is something else");
    }
    let number = lines.next().and_then(|line| line.strip_prefix("format "));
    number.and_then(|number| number.parse().ok()).ok_or("its second line names no format")
}

fn check_empty(folder: &Path) -> Result<Found, FolderError> {
    let failed = |source| FolderError::from_io("read", folder.to_owned(), source);
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Found::None),
        Err(source) => return Err(failed(source)),
    };
    let names =
        entries.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>().map_err(failed)?;
    if names.iter().any(|name| name == FORMAT_FILE) {
        // Another broker has just made it. Whoever takes the lock looks again.
        return Ok(Found::None);
    }
    if names.iter().any(|name| name == RESTORING_FILE) {
        return Err(FolderError::Restoring { folder: folder.to_owned() });
    }
    match names.iter().find(|name| !UNSUSPICIOUS.iter().any(|known| name == known)) {
        None => Ok(Found::None),
        Some(name) => {
            let found = name.to_string_lossy().into_owned();
            Err(FolderError::Foreign { folder: folder.to_owned(), found })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_line_names_the_format() {
        let table: [(&[u8], Result<u64, &str>); 9] = [
            (b"warren data folder\nformat 1\n", Ok(1)),
            (b"warren data folder\nformat 1", Ok(1)),
            (b"warren data folder\nformat 7\nand more\n", Ok(7)),
            (b"", Err("it is empty")),
            (b"\xff\xfe", Err("it is not text")),
            (b"\0\0\0\0", Err("its first line is something else")),
            (b"warren data folder\n", Err("its second line names no format")),
            (b"warren data folder\nformat one\n", Err("its second line names no format")),
            (b"warren data folder\nformat -1\n", Err("its second line names no format")),
        ];
        for (bytes, format) in table {
            assert_eq!(parse(bytes), format, "{bytes:?}");
        }
    }
}
