//! Decides which of several exporters serves a target. Values only.

use super::target::Target;

/// One of several shards of the targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    /// The number of this shard, from 0.
    pub ordinal: u32,
    /// The total number of shards.
    pub count: u32,
}

impl Shard {
    /// All targets, for an exporter that runs without shards.
    pub const WHOLE: Self = Self { ordinal: 0, count: 1 };

    /// Whether the target belongs to this shard. Every target belongs to exactly one shard, and every process computes the same
    /// one. Adding a shard moves only the targets assigned to it ([rendezvous hashing]).
    ///
    /// [rendezvous hashing]: https://en.wikipedia.org/wiki/Rendezvous_hashing
    pub fn holds(self, target: &Target) -> bool {
        let identity = hash(target);
        let score = |ordinal: u32| mix(identity ^ mix(u64::from(ordinal)));
        (0..self.count).max_by_key(|ordinal| score(*ordinal)) == Some(self.ordinal)
    }
}

/// FNV-1a of the target's identity. It must never change, because every target would move to another shard. The standard
/// library does not promise stable hashes.
fn hash(target: &Target) -> u64 {
    let Target { account_id, region, application_id, segment_id } = target;
    let segment_id = segment_id.as_deref().unwrap_or_default();
    let parts = [account_id.as_str(), region, application_id, segment_id];
    // The byte 0xff ends each part. It never occurs in UTF-8, so two different targets never give the same bytes.
    let bytes = parts.iter().flat_map(|part| part.bytes().chain([0xff]));
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The finalizer of `SplitMix64`. It spreads similar inputs over all bits.
fn mix(mut bits: u64) -> u64 {
    bits = bits.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn targets() -> impl Iterator<Item = Target> {
        (0..5_000).map(|n| Target {
            account_id: String::new(),
            region: "eu-west-1".to_owned(),
            application_id: format!("app-{}", n % 50),
            segment_id: Some(format!("segment-{n}")),
        })
    }

    fn holder(target: &Target, count: u32) -> u32 {
        let holders: Vec<u32> =
            (0..count).filter(|ordinal| Shard { ordinal: *ordinal, count }.holds(target)).collect();
        assert_eq!(holders.len(), 1, "{target} is held by {holders:?}");
        holders[0]
    }

    #[test]
    fn every_target_is_in_one_part_and_the_parts_are_about_even() {
        for count in [1, 2, 5] {
            let mut sizes = vec![0; count as usize];
            targets().for_each(|target| sizes[holder(&target, count) as usize] += 1);
            let even = 5_000 / count;
            assert!(sizes.iter().all(|size| (even * 9 / 10..=even * 11 / 10).contains(size)), "{sizes:?}");
        }
    }

    #[test]
    fn one_part_more_moves_about_its_share_and_only_into_it() {
        let moved: Vec<(u32, u32)> = targets()
            .map(|target| (holder(&target, 4), holder(&target, 5)))
            .filter(|(before, after)| before != after)
            .collect();
        assert!((800..1_200).contains(&moved.len()), "{} of 5,000 moved", moved.len());
        assert!(moved.iter().all(|(_, after)| *after == 4));
    }

    #[test]
    fn the_parts_are_the_same_in_every_version() {
        let holders: Vec<u32> = targets().take(12).map(|target| holder(&target, 5)).collect();
        assert_eq!(holders, [2, 2, 1, 3, 1, 1, 4, 3, 0, 0, 4, 0]);
    }
}
