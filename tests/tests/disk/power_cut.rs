//! Power cuts: what a broker did to its disk is recorded under load, then cut off at random moments, with whatever was not
//! yet synced lost, torn or reordered. A broker started on what is left must have everything that was promised.
//!
//! `WARREN_POWER_CUTS` says how many images to try, `WARREN_DISK_SEED` with which seed.

use std::env;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use lapin::Connection;
use tempfile::TempDir;
use tokio::sync::watch;
use warren_tests::eventually;

use crate::history::{History, NEVER};
use crate::image::{Fate, Image};
use crate::load::{self, FANNED_OUT, Publishing};
use crate::message::Size;
use crate::notes::{Notes, Queue};
use crate::random::{Random, seed};
use crate::shim::{Shim, now_ns};
use crate::warren::Warren;

/// Without the variable: enough to find a sync that is missing, and quick.
const CUTS: usize = 100;

/// How many of a hundred images see the power fail once more.
const AGAIN_PERCENT: u64 = 20;

/// Images are started at the same time to use both cores while one waits for its disk.
const THREADS: usize = 3;

const ALL: &[Queue] = &[0, 1, 2, 3];
const NONE: &[Queue] = &[];
const SOME: &[Queue] = &[1, 2, 3];

/// A broker's life while it was recorded.
struct Recorded {
    name: &'static str,
    history: History,
    notes: Notes,
    start_ns: u64,
}

/// Where a broker is recorded.
struct Scene {
    place: TempDir,
    shim: Shim,
    notes: Arc<Notes>,
    next_publisher: u32,
    start_ns: u64,
}

impl Scene {
    fn new() -> Self {
        let place = TempDir::new().unwrap();
        std::fs::create_dir(place.path().join("data")).unwrap();
        let shim = Shim::recording(&place.path().join("recording"));
        Self { place, shim, notes: Arc::default(), next_publisher: 0, start_ns: now_ns() }
    }

    fn data(&self) -> PathBuf {
        self.place.path().join("data")
    }

    fn start(&self) -> Warren {
        Warren::run(&self.data(), Some(&self.shim), &[])
    }

    /// Publishers with all windows, and a consumer on these queues; if that is all of them, until they are empty.
    async fn load(&mut self, warren: &Warren, counts: [u32; 3], size: Size, consumed: &'static [Queue]) {
        load::declare(&warren.connect().await).await;
        let (stop, stopped) = watch::channel(false);
        let consumer = {
            let (connection, notes) = (warren.connect().await, Arc::clone(&self.notes));
            let publisher = self.publisher();
            tokio::spawn(
                async move { load::consume(&connection, &notes, publisher, consumed, stopped).await },
            )
        };
        let mut publishers = Vec::new();
        for (count, window) in counts.into_iter().zip([1, 128, 10_000]) {
            let plan = Publishing { publisher: self.publisher(), count, window, size };
            let (connection, notes) = (warren.connect().await, Arc::clone(&self.notes));
            publishers.push(tokio::spawn(async move { load::publish(&connection, &notes, plan).await }));
        }
        for publisher in publishers {
            publisher.await.unwrap().expect("publishing works");
        }
        if consumed == ALL {
            load::until_consumed(&warren.connect().await).await;
        }
        // Nobody listens if there was nothing to consume.
        let _ = stop.send(true);
        consumer.await.unwrap().expect("consuming works");
    }

    fn publisher(&mut self) -> u32 {
        self.next_publisher += 1;
        self.next_publisher
    }

    /// Ends the recording, which must have seen everything that happened to the folder.
    fn end(self, name: &'static str, warren: Warren) -> Recorded {
        let ended = warren.stop();
        assert!(ended.status.success(), "warren did not stop cleanly: {}\n{}", ended.status, ended.log);
        let history = History::read(None, self.shim.recording.as_deref().unwrap());
        let replayed = Image::cut(&history, NEVER, Fate::Happened, &mut Random::new(0));
        let differences = replayed.differences(&Image::of_folder(&self.data()));
        assert_eq!(differences, Vec::<String>::new(), "{name}: recorded / in the folder");
        let notes = Arc::into_inner(self.notes).expect("all clients have ended");
        Recorded { name, history, notes, start_ns: self.start_ns }
    }
}

/// A broker that starts on nothing and works.
async fn one_life() -> Recorded {
    let mut scene = Scene::new();
    let warren = scene.start();
    scene.load(&warren, [100, 1000, 1500], Size::Mixed, SOME).await;
    scene.end("one life", warren)
}

/// A broker that is stopped in order, started again, killed, and started again, and works all the time.
async fn several_lives() -> Recorded {
    let mut scene = Scene::new();
    for life in 0..5 {
        let warren = scene.start();
        scene.load(&warren, [30, 300, 300], Size::Mixed, SOME).await;
        if life % 2 == 0 {
            assert!(warren.stop().status.success());
        } else {
            // What a process that is killed has just done may be missing from the recording. Nothing is left to do by then.
            eventually_quiet(&scene.shim);
            warren.kill();
        }
    }
    let warren = scene.start();
    scene.end("several lives", warren)
}

/// Waits until nothing was recorded between two looks.
fn eventually_quiet(shim: &Shim) {
    let recording = shim.recording.as_deref().unwrap();
    let length = || std::fs::metadata(recording).unwrap().len();
    let mut before = (0, 0);
    eventually("the broker has nothing to do", || {
        let now = length();
        before = if now == before.0 { (now, before.1 + 1) } else { (now, 0) };
        (before.1 >= 20).then_some(())
    });
}

/// Much that is large and soon gone, so that the log's first files are removed or rewritten.
async fn much_and_soon_gone() -> Recorded {
    let mut scene = Scene::new();
    let warren = scene.start();
    // First without a consumer: what is settled before it is written is never written.
    scene.load(&warren, [20, 300, 500], Size::About(60_000), NONE).await;
    scene.load(&warren, [1, 1, 1], Size::Mixed, ALL).await;
    // What the consumer held at the end is back in its queues, spread over all of the log, and has to be moved.
    let first = first_segment(&scene.data());
    eventually("the log's first file is removed", || (first_segment(&scene.data()) != first).then_some(()));
    scene.load(&warren, [20, 200, 100], Size::Mixed, SOME).await;
    scene.end("much and soon gone", warren)
}

/// The log's oldest file.
fn first_segment(data: &Path) -> Option<String> {
    let names = std::fs::read_dir(data.join("log")).unwrap().map(|entry| entry.unwrap().file_name());
    names.map(|name| name.to_string_lossy().into_owned()).min()
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_promised_is_lost_when_the_power_fails() {
    let seed = seed();
    let cuts = env::var("WARREN_POWER_CUTS").map_or(CUTS, |count| count.parse().expect("a number of images"));
    println!("WARREN_DISK_SEED={seed} WARREN_POWER_CUTS={cuts}");
    let recorded = [one_life().await, several_lives().await, much_and_soon_gone().await];
    for recorded in &recorded {
        assert!(recorded.notes.confirmed_count() > 0);
    }
    let (next, failures) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..THREADS.min(cuts) {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= cuts {
                        break;
                    }
                    let mut random = Random::part(seed, u64::try_from(number).unwrap());
                    let mut cut = Ok(Cut::new(&recorded[number % recorded.len()], number, &mut random));
                    if random.percent(AGAIN_PERCENT) {
                        cut = cut.and_then(|cut| cut.again(&mut random));
                    }
                    if let Err(failure) = cut.and_then(|cut| cut.try_out()) {
                        println!("{failure}");
                        failures.lock().unwrap().push(failure);
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{} of {cuts} images lost something, see above", failures.len());
}

/// One power cut.
struct Cut<'a> {
    recorded: &'a Recorded,
    title: String,
    cut_ns: u64,
    image: Image,
}

impl<'a> Cut<'a> {
    fn new(recorded: &'a Recorded, number: usize, random: &mut Random) -> Self {
        let cut_ns = if random.percent(30) {
            recorded.start_ns + random.below(recorded.history.end_ns - recorded.start_ns)
        } else {
            recorded.history.moment(random)
        };
        let fate = Fate::random(random);
        let since_ms = (cut_ns - recorded.start_ns) / 1_000_000;
        let title = format!("image {number} of {:?}, cut after {since_ms} ms, {fate:?}", recorded.name);
        let image = Image::cut(&recorded.history, cut_ns, fate, random);
        Self { recorded, title, cut_ns, image }
    }

    /// Starts a broker on the image and compares what it has with what was promised.
    fn try_out(&self) -> Result<(), String> {
        let folder = TempDir::new().unwrap();
        self.image.write(folder.path());
        let outcome = match Warren::start(folder.path(), None, &[]) {
            Err(ended) => Err(format!("warren did not start: {}\n{}", ended.status, ended.log)),
            Ok(warren) => {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                let problems = runtime.block_on(self.problems(&warren));
                if problems.is_empty() { Ok(()) } else { Err(told(&problems, &warren.log())) }
            }
        };
        outcome.map_err(|problem| {
            let kept = TempDir::new().unwrap().keep();
            self.image.write(&kept);
            format!("{}, kept at {}:\n{problem}", self.title, kept.display())
        })
    }

    /// The power fails once more while a broker starts on the image, and cleans up what it finds.
    fn again(mut self, random: &mut Random) -> Result<Self, String> {
        let place = TempDir::new().unwrap();
        let [before, data] = ["before", "data"].map(|name| place.path().join(name));
        for folder in [&before, &data] {
            std::fs::create_dir(folder).unwrap();
            self.image.write(folder);
        }
        let shim = Shim::recording(&place.path().join("recording"));
        match Warren::start(&data, Some(&shim), &[]) {
            Err(ended) => return Err(format!("warren did not start: {}\n{}", ended.status, ended.log)),
            Ok(warren) => warren.kill(),
        }
        let history = History::read(Some(&before), shim.recording.as_deref().unwrap());
        let (cut_ns, fate) = (history.moment(random), Fate::random(random));
        self.image = Image::cut(&history, cut_ns, fate, random);
        self.title = format!("{}, cut again in the next start, {fate:?}", self.title);
        Ok(self)
    }

    async fn problems(&self, warren: &Warren) -> Vec<String> {
        let connection: Connection = warren.connect().await;
        let queues = load::drain(&connection).await;
        let notes = &self.recorded.notes;
        let mut problems = notes.problems(self.cut_ns, &queues);
        if notes.is_any_confirmed(self.cut_ns, &FANNED_OUT) && !load::is_fanned_out(&connection).await {
            problems.push("the exchange does not lead to its queues any more".to_owned());
        }
        problems
    }
}

fn told(problems: &[String], log: &str) -> String {
    let first: Vec<&str> = problems.iter().take(5).map(String::as_str).collect();
    format!("{} problems, the first of them:\n{}\nwarren wrote:\n{log}", problems.len(), first.join("\n"))
}
