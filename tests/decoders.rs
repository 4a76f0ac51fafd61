//! Decoding of files that are whole, cut short and damaged. `make sanitize` runs it under valgrind, which sees what a
//! decoder reads or writes that is not its own, on the seeds of the fuzzer.

use std::path::{Path, PathBuf};
use std::{env, fs};

use cnnzoo::data::decode_bytes;

/// The number of versions of each file that are tried cut short, and as many with a few bytes changed.
const EACH: usize = 25;

#[test]
fn files_that_are_whole_cut_short_and_damaged() {
    let folder = env::var_os("CNNZOO_SEEDS").map_or_else(photos, PathBuf::from);
    let mut decoded = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "md") {
            continue;
        }
        let whole = fs::read(&path).unwrap();
        let photo = decode_bytes(&whole, &path, true).unwrap();
        assert_eq!(photo.pixels().len(), photo.width() * photo.height() * photo.channels());
        decoded += 1;
        let mut state = whole.len();
        let mut draw = |below: usize| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        for _ in 0..EACH {
            // Either result is right; what must not happen ends the process.
            let cut = &whole[..draw(whole.len())];
            let _ = decode_bytes(cut, Path::new("cut"), true);
            let mut damaged = whole.clone();
            for _ in 0..=draw(4) {
                let within = if draw(2) == 0 { whole.len() } else { whole.len().min(200) };
                damaged[draw(within)] = draw(256) as u8;
            }
            let _ = decode_bytes(&damaged, Path::new("damaged"), true);
        }
    }
    assert!(decoded > 1, "{decoded} files");
}

fn photos() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("photos")
}
