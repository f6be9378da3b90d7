//! The hashes by which producers choose a partition for a key.

use flate2::Crc;

/// A hash of a key that producers are known to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Partitioner {
    /// The Collector's `kafkaexporter`, and Sarama.
    Fnv1a,
    /// Java clients.
    Murmur2,
    /// librdkafka, unless told otherwise.
    Crc32,
}

impl Partitioner {
    pub(super) const ALL: [Partitioner; 3] = [Partitioner::Fnv1a, Partitioner::Murmur2, Partitioner::Crc32];

    /// The name, for people.
    pub(super) fn name(self) -> &'static str {
        match self {
            Partitioner::Fnv1a => "FNV-1a",
            Partitioner::Murmur2 => "murmur2",
            Partitioner::Crc32 => "CRC-32",
        }
    }

    /// The partition of a key, of so many.
    pub(super) fn partition(self, key: &[u8], partitions: u32) -> u32 {
        match self {
            // Sarama takes the remainder of a signed number and drops its sign.
            Partitioner::Fnv1a => (i64::from(fnv1a(key) as i32) % i64::from(partitions)).unsigned_abs() as u32,
            Partitioner::Murmur2 => (murmur2(key) & 0x7fff_ffff) % partitions,
            Partitioner::Crc32 => crc32(key) % partitions,
        }
    }
}

fn fnv1a(key: &[u8]) -> u32 {
    key.iter().fold(0x811c_9dc5, |hash: u32, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

fn crc32(key: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(key);
    crc.sum()
}

/// As `org.apache.kafka.common.utils.Utils` has it.
fn murmur2(key: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut hash = 0x9747_b28c ^ key.len() as u32;
    let (words, rest) = key.as_chunks::<4>();
    for word in words {
        let mut word = u32::from_le_bytes(*word).wrapping_mul(M);
        word ^= word >> 24;
        hash = hash.wrapping_mul(M) ^ word.wrapping_mul(M);
    }
    if !rest.is_empty() {
        for (index, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * index);
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The hashes give the published values: Kafka's own test has those of murmur2.
    #[test]
    fn hashes_are_those_of_the_producers() {
        for (key, hash) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()) as i32, hash, "{key}");
        }
        assert_eq!((fnv1a(b""), fnv1a(b"a"), fnv1a(b"foobar")), (0x811c_9dc5, 0xe40c_292c, 0xbf9c_f968));
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    /// A partition is always one of those that there are. Sarama takes the hash of "foobar" for -1,080,231,576, which
    /// leaves -4 by 7, and drops the sign.
    #[test]
    fn partitions_are_within_bounds() {
        assert_eq!(Partitioner::Fnv1a.partition(b"foobar", 7), 4);
        for partitioner in Partitioner::ALL {
            for key in [&b""[..], b"a", b"foobar", b"21"] {
                assert!((1..20).all(|partitions| partitioner.partition(key, partitions) < partitions));
            }
        }
    }
}
