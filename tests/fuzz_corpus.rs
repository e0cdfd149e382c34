//! The inputs in fuzz/corpus: seeds, and inputs that violated a property once. Every target's property holds for them.

#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test with its location")]

#[path = "../fuzz/src/lib.rs"]
#[allow(unreachable_pub, reason = "it is a crate of its own as well")]
mod fuzz;

use std::path::Path;

#[test]
fn corpus_inputs_hold_all_properties() {
    for (target, check) in fuzz::TARGETS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
        let mut count = 0;
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            eprintln!("{}", path.display());
            check(&std::fs::read(path).unwrap());
            count += 1;
        }
        assert!(count > 2, "{target} has seeds");
    }
}

#[test]
fn protocol_examples_are_in_the_corpus() {
    let text = include_str!("../PROTOCOL.md");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/frames");
    let known: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .filter_map(|entry| std::fs::read_to_string(entry.unwrap().path()).ok())
        .collect();
    for block in text.split("```json ").skip(1) {
        let example = block.split_once('\n').unwrap().1.split("\n```").next().unwrap();
        assert!(known.iter().any(|known| known.trim_end() == example), "add to fuzz/corpus/frames: {example}");
    }
}
