//! How long a crashed process waits.

use std::time::Duration;

/// The first pause before a crashed process is started again lies between zero and this.
pub const BACKOFF_MIN: Duration = Duration::from_secs(1);
/// No pause is longer.
pub const BACKOFF_MAX: Duration = Duration::from_mins(1);

/// Full jitter: anywhere between nothing and the doubled bound, so that processes that fell together do not rise together.
pub(in crate::run) fn jittered(crashes: u32, random: &mut u64) -> Duration {
    let doublings = crashes.saturating_sub(1).min(16);
    let bound = BACKOFF_MIN.saturating_mul(1 << doublings).min(BACKOFF_MAX);
    let bound_us = u64::try_from(bound.as_micros()).unwrap_or(u64::MAX);
    Duration::from_micros(split_mix(random) % (bound_us + 1))
}

/// `SplitMix64` (Steele, Lea, Flood 2014): seedable, so that a test can replay it.
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
