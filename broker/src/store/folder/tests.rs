//! Opening, locking and refusing folders, with every message.

use std::os::unix::fs::PermissionsExt as _;

use super::*;

struct Place {
    root: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self { root: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// The message of a refusal, with the temporary folder called `T`.
    fn refusal(&self, opened: Result<DataFolder, FolderError>) -> String {
        opened.unwrap_err().to_string().replace(&self.root.path().display().to_string(), "T")
    }
}

#[test]
fn a_missing_folder_is_made_for_its_owner_alone_and_marked_with_the_format() {
    let place = Place::new();
    let path = place.path("a/b");
    let folder = DataFolder::open(&path).unwrap();
    assert_eq!(folder.path(), path);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(fs::read_to_string(path.join("format")).unwrap(), "warren data folder\nformat 1\n");
    assert_eq!(fs::read_to_string(path.join("lock")).unwrap(), format!("{}\n", process::id()));
    assert_eq!(fs::read_dir(&path).unwrap().count(), 2);
}

#[test]
fn a_folder_can_be_opened_again_once_it_is_dropped() {
    let place = Place::new();
    let path = place.path("d");
    for _ in 0..2 {
        let folder = DataFolder::open(&path).unwrap();
        folder.subfolder("log").unwrap();
        assert!(path.join("log").is_dir());
    }
    DataFolder::open_stopped(&path).unwrap();
}

#[test]
fn a_folder_in_use_is_refused_and_the_process_is_named() {
    let place = Place::new();
    let path = place.path("d");
    let folder = DataFolder::open(&path).unwrap();
    let pid = process::id();
    let message = format!(
        "the data folder T/d is in use by process {pid}; stop process {pid}, or choose another folder with --data"
    );
    assert_eq!(place.refusal(DataFolder::open(&path)), message);
    assert_eq!(place.refusal(DataFolder::open_stopped(&path)), message);

    fs::write(path.join("lock"), "").unwrap();
    assert_eq!(
        place.refusal(DataFolder::open(&path)),
        "the data folder T/d is in use by another process; stop it, or choose another folder with --data"
    );
    drop(folder);
    DataFolder::open(&path).unwrap();
}

#[test]
fn a_longer_pid_of_an_earlier_holder_leaves_no_digits_behind() {
    let place = Place::new();
    fs::write(place.path("lock"), "99999999999\n").unwrap();
    let _folder = DataFolder::open(place.root.path()).unwrap();
    assert_eq!(fs::read_to_string(place.path("lock")).unwrap(), format!("{}\n", process::id()));
}

#[test]
fn a_folder_that_was_left_half_made_is_completed() {
    let place = Place::new();
    fs::write(place.path("lock"), "12\n").unwrap();
    fs::write(place.path("format.new"), "warr").unwrap();
    fs::create_dir(place.path("lost+found")).unwrap();
    DataFolder::open(place.root.path()).unwrap();
    assert_eq!(fs::read_to_string(place.path("format")).unwrap(), "warren data folder\nformat 1\n");
    assert!(!place.path("format.new").exists());
}

#[test]
fn a_folder_of_something_else_is_refused_and_left_alone() {
    let place = Place::new();
    fs::write(place.path("thesis.tex"), "x").unwrap();
    for opened in [DataFolder::open(place.root.path()), DataFolder::open_stopped(place.root.path())] {
        assert_eq!(
            place.refusal(opened),
            "T is not a data folder of Warren: it has no file 'format' but contains 'thesis.tex'; choose an empty or a \
             new folder with --data"
        );
    }
    assert_eq!(fs::read_dir(place.root.path()).unwrap().count(), 1);
}

#[test]
fn a_newer_format_is_refused_with_both_numbers() {
    let place = Place::new();
    fs::write(place.path("format"), "warren data folder\nformat 7\n").unwrap();
    for opened in [DataFolder::open(place.root.path()), DataFolder::open_stopped(place.root.path())] {
        assert_eq!(
            place.refusal(opened),
            "the data folder T has format 7; this version of Warren reads format 1: start the version that wrote it, or \
             choose another folder with --data"
        );
    }
}

#[test]
fn a_damaged_format_file_is_named_with_what_is_wrong() {
    let place = Place::new();
    let rest = "it should consist of the lines 'warren data folder' and 'format 1'. Restore it if the folder is Warren's, \
                or choose another folder with --data";
    for (text, problem) in [
        ("", "it is empty"),
        ("\0\0\0", "its first line is something else"),
        ("warren data folder\nform", "its second line names no format"),
        ("warren data folder\nformat 0\n", "there was never such a format"),
    ] {
        fs::write(place.path("format"), text).unwrap();
        let message = place.refusal(DataFolder::open(place.root.path()));
        assert_eq!(message, format!("the file T/format is damaged: {problem}; {rest}"), "{text:?}");
    }
}

#[test]
fn a_file_is_not_a_folder_nor_can_it_contain_one() {
    let place = Place::new();
    fs::write(place.path("f"), "x").unwrap();
    let message = "T/f is not a folder; choose another with --data";
    assert_eq!(place.refusal(DataFolder::open(&place.path("f"))), message);
    let below = place.refusal(DataFolder::open(&place.path("f/d")));
    assert_eq!(below, "T/f/d is not a folder; choose another with --data");
    let stopped = place.refusal(DataFolder::open_stopped(&place.path("f")));
    assert_eq!(stopped, "T/f is not a folder; choose another with --data");
}

#[test]
fn looking_at_a_folder_makes_nothing() {
    let place = Place::new();
    let nothing = |name: &str| {
        format!(
            "there is no data in T{name}: no broker has kept anything there; name its data folder with --data"
        )
    };
    assert_eq!(place.refusal(DataFolder::open_stopped(&place.path("d"))), nothing("/d"));
    assert!(!place.path("d").exists());
    assert_eq!(place.refusal(DataFolder::open_stopped(place.root.path())), nothing(""));
    assert_eq!(fs::read_dir(place.root.path()).unwrap().count(), 0);
}

#[test]
fn a_refused_permission_says_as_whom_to_run() {
    let denied = io::Error::from(ErrorKind::PermissionDenied);
    assert_eq!(
        FolderError::from_io("create", PathBuf::from("/srv/w"), denied).to_string(),
        "not allowed to create /srv/w; run warren as the user who owns the data folder, or choose another folder with --data"
    );
    let full = io::Error::from(ErrorKind::StorageFull);
    let error = FolderError::from_io("create", PathBuf::from("/srv/w"), full);
    assert_eq!(error.to_string(), "cannot create /srv/w");
    assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "no storage space");
}

/// With a real folder where the tests do not run as root, to whom nothing is forbidden.
#[test]
fn a_folder_that_may_not_be_written_to_is_refused() {
    if rustix::process::geteuid().is_root() {
        return;
    }
    let place = Place::new();
    fs::set_permissions(place.root.path(), fs::Permissions::from_mode(0o500)).unwrap();
    assert!(place.refusal(DataFolder::open(&place.path("d"))).starts_with("not allowed to create T/d; "));
    assert!(place.refusal(DataFolder::open(place.root.path())).starts_with("not allowed to open T/lock; "));
    fs::set_permissions(place.root.path(), fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn the_disk_has_less_free_than_in_all() {
    let place = Place::new();
    let folder = DataFolder::open(place.root.path()).unwrap();
    let space = folder.space().unwrap();
    assert!(space.total_bytes > 0 && space.free_bytes <= space.total_bytes, "{space:?}");
    assert!(DiskSpace::of(&place.path("missing")).is_err());
}
