//! The objects in `spec/store.md` are objects that this slug reads, and writes like that.

use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::store::event::EventObject;
use crate::store::{ReleaseRecord, SlugPointer, json};

const PAGE: &str = include_str!("../../../spec/store.md");

fn blocks() -> Vec<&'static str> {
    let blocks = PAGE.split("```json\n").skip(1);
    blocks
        .map(|block| block.split_once("```").unwrap().0)
        .collect()
}

fn check<T: DeserializeOwned + Serialize>(block: &str) {
    let path = Path::new("spec/store.md");
    let object: T = json::parse(path, block.as_bytes()).unwrap();
    let written = json::to_bytes(path, &object).unwrap();
    assert_eq!(String::from_utf8(written).unwrap(), block);
}

#[test]
fn the_objects_of_the_spec_are_read_and_written_as_they_stand_there() {
    let [record, event, slug] = blocks()[..] else {
        panic!("{} objects", blocks().len())
    };
    check::<ReleaseRecord>(record);
    check::<EventObject>(event);
    check::<SlugPointer>(slug);
}
