//! Another key, and whatever comes between.

use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tidegate_permission::{Principal, Secret};

use crate::disk::{Cut, Home};

#[test]
fn every_secret_is_sealed_anew_and_the_old_key_is_forgotten() {
    let home = Home::new();
    let names: Vec<String> = (0..5).map(|number| format!("s{number}")).collect();
    names.iter().for_each(|name| home.set(name, name));
    let before = home.secrets.names().unwrap();
    let old = std::fs::read(home.path("keys/secrets.key")).unwrap();
    let (number, path) = home.secrets.rekey().unwrap();
    assert_eq!((number, path), (5, home.path("keys/secrets.key")));
    assert_eq!(home.secrets.names().unwrap(), before, "version, time and writer are as they were");
    assert!(names.iter().all(|name| home.told(name) == *name));
    assert_eq!(home.keys(), 1);
    std::fs::write(home.path("keys/secrets.key"), old).unwrap();
    assert!(home.told("s0").starts_with("TG0305: the key "), "the old key opens nothing");
}

#[test]
fn another_store_keeps_its_key() {
    let home = Home::new();
    let other = home.beside("other", "keys/secrets.key");
    home.set("ours", "a");
    other.set("theirs", "b");
    home.secrets.rekey().unwrap();
    assert_eq!((home.told("ours"), other.told("theirs"), home.keys()), ("a".into(), "b".into(), 2));
}

#[test]
fn cut_off_at_a_step_all_can_be_read_and_doing_it_again_completes_it() {
    for cut in [Cut::BeforeBatch, Cut::AfterBatch] {
        let home = Home::new();
        home.set("one", "1");
        home.set("two", "2");
        *home.disk.cut.lock().unwrap() = Some(cut);
        home.secrets.rekey().unwrap_err();
        assert_eq!(home.keys(), 2, "{cut:?}: the old key is there for what it may still seal");
        home.set("three", "3");
        for round in 0..2 {
            let told = ["one", "two", "three"].map(|name| home.told(name));
            assert_eq!(told, ["1", "2", "3"], "{cut:?} {round}");
            home.secrets.rekey().unwrap();
        }
        assert_eq!(home.keys(), 1, "{cut:?}");
    }
}

#[test]
fn nobody_who_writes_meanwhile_loses_a_secret() {
    let home = Home::new();
    let rounds = 30;
    thread::scope(|scope| {
        for writer in ["a", "b", "c"] {
            let home = &home;
            scope.spawn(move || (0..rounds).for_each(|round| home.set(writer, &format!("{writer}{round}"))));
        }
        scope.spawn(|| (0..rounds).for_each(|_| drop(home.secrets.rekey().unwrap())));
        scope.spawn(|| {
            home.set("read", "always");
            (0..rounds * 3).for_each(|_| assert_eq!(home.told("read"), "always"));
        });
    });
    let last = rounds - 1;
    for writer in ["a", "b", "c"] {
        assert_eq!(home.told(writer), format!("{writer}{last}"));
    }
}

const NAMES: [&str; 3] = ["one", "two", "three"];
const FOLDER: &str = "TIDEGATE_TEST_SECRETS";

#[test]
fn killed_at_any_moment_all_can_be_read() {
    let home = Home::new();
    NAMES.iter().for_each(|name| home.set(name, &name.repeat(1000)));
    let mut halfway = 0;
    for round in 0..40_u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "rekey::part_of_who_is_killed"])
            .env(FOLDER, home.path(""))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let began = home.path("began");
        let start = Instant::now();
        while !began.exists() && start.elapsed() < Duration::from_secs(20) {
            thread::sleep(Duration::from_micros(200));
        }
        // Another moment each round, over about as long as changing the key takes.
        thread::sleep(Duration::from_micros(round * 997 % 20_000));
        child.kill().unwrap();
        child.wait().unwrap();
        std::fs::remove_file(began).unwrap();
        halfway += usize::from(home.keys() > 1);
        for name in NAMES {
            assert_eq!(home.told(name), name.repeat(1000), "round {round}");
        }
    }
    assert!(halfway > 0, "no kill came between the steps");
    home.secrets.rekey().unwrap();
    assert_eq!(home.keys(), 1);
    let swapped = home.secrets.set("one", &Secret::new(b"x".to_vec()), &Principal::operator()).unwrap();
    assert_eq!(swapped.version, 2);
}

#[test]
#[ignore = "started and killed by `killed_at_any_moment_all_can_be_read`"]
fn part_of_who_is_killed() {
    let folder = std::env::var_os(FOLDER).unwrap();
    let home = Home::at(Path::new(&folder), "store", "keys/secrets.key");
    std::fs::write(home.path("began"), "").unwrap();
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(60) {
        home.secrets.rekey().unwrap();
    }
}
