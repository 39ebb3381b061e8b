//! Files that a crash, another version or somebody's editor has left.

use super::{Document, VERSIONS, parse_document, parse_stat};

/// What is read can be written, and is then read as the same.
pub(crate) fn document(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(document) = parse_document(text) else { return };
    let write = |document: &Document| serde_json::to_string(document).expect("a journal can be written");
    let written = write(&document);
    if VERSIONS.contains(&document.version) {
        assert_eq!(write(&parse_document(&written).expect("what was written can be read")), written);
    }
}

/// The name of a process is whatever it likes.
pub(crate) fn stat(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        let ticks = parse_stat(text);
        assert_eq!(ticks, parse_stat(&format!("1 (a) S) {text}")).and(ticks), "a name in front changes nothing");
    }
}
