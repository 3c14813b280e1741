//! What comes back of a layer, as lifecycle decides it: the cases of its
//! `internal/layer/metadata_restorer_test.go` (`m`) and `phase/restorer_test.go` (`r`), as data.
//!
//! lifecycle asks the last image and the cache, which may disagree; here one
//! state has both, so that cases about their disagreement come down to content
//! or a blob that is gone.

use super::*;
use crate::layer::LayerTypes;

/// `l`, `b`, `c`: launch, build, cache; what is still there of it: its `content` in the cache, its `blob` in the store.
const CASES: &[(&str, &str, &str, &str, &str)] = &[
    // case, layer, types, what is there, what comes back
    ("m:126", "launch", "l", "blob", "metadata"),
    (
        "m:126",
        "launch-build-cache",
        "lbc",
        "content blob",
        "content",
    ),
    ("m:126", "launch-cache", "lc", "content blob", "content"),
    ("m:126", "cache", "c", "content", "content"),
    (
        "m:126, Platform API 0.14",
        "launch-cache-not-in-app",
        "lc",
        "content",
        "content",
    ),
    ("m:218", "cache-false", "", "content", "nothing"),
    ("m:226", "launch-false", "", "blob", "nothing"),
    ("m:234", "launch-build", "lb", "blob", "nothing"),
    ("m:241", "escaped-bp-layer", "c", "content", "content"),
    (
        "m:272",
        "launch-cache, not in the cache",
        "lc",
        "blob",
        "nothing",
    ),
    ("r:102", "cache=true, no cache", "c", "", "nothing"),
    ("r:114", "cache=false, no cache", "l", "blob", "metadata"),
    ("r:228", "cache=true", "c", "content", "content"),
    ("r:249", "cache=false", "l", "content blob", "metadata"),
    ("r:290", "cache=true, wrong sha", "lc", "blob", "nothing"),
    ("r:344", "cache=true, not in the cache", "c", "", "nothing"),
    // The rest of the specification's table: launch only and nothing else of the app's image is left.
    (
        "rule 47",
        "launch, its blob gone",
        "l",
        "content",
        "nothing",
    ),
    ("rule 46", "build", "b", "content blob", "nothing"),
    ("rule 46", "build-cache", "bc", "content", "content"),
];

#[test]
fn rules_46_and_47_lifecycles_cases() {
    for (case, name, types, there, expected) in CASES {
        let layer = LayerState {
            types: LayerTypes {
                launch: types.contains('l'),
                build: types.contains('b'),
                cache: types.contains('c'),
            },
            metadata: String::new(),
            roots: Vec::new(),
            packed: None,
        };
        let unusable = || (!there.contains("blob")).then_some(Change::BlobGone);
        let actual = match decide(&layer, there.contains("content"), unusable) {
            Restore::Content => "content",
            Restore::Metadata => "metadata",
            Restore::Nothing | Restore::Lost(_) => "nothing",
        };
        assert_eq!(actual, *expected, "{case}: {name}");
    }
}
