//! The inputs that fuzzing kept, through the properties that it holds them to.

use std::{fs, path::Path};

#[path = "../../fuzz/properties/mod.rs"]
mod properties;

#[test]
fn every_input_that_was_kept_holds_its_property() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let mut broken = Vec::new();
    for (name, property) in properties::ALL {
        let files: Vec<_> = fs::read_dir(corpus.join(name)).unwrap().map(|file| file.unwrap().path()).collect();
        assert!(files.len() > 10, "{name} has {} inputs", files.len());
        for file in files {
            let input = fs::read(&file).unwrap();
            if std::panic::catch_unwind(|| property(&input)).is_err() {
                broken.push(file);
            }
        }
    }
    assert!(broken.is_empty(), "inputs that break their property, as said above: {broken:#?}");
}
