//! Dead letters as SQL sees them.

/// All letters with all columns that everybody may read, and when each was replayed: null where it was not.
pub const LETTERS: &str = "\
    select l.*, m.replayed_at from \
    (select d.reason, d.detail, d.size_bytes, d.timestamp as stamp, d.kafka_topic as topic, \
     d.kafka_partition as part, d.kafka_offset as pos, d.ingested_at \
     from dead_letters d where d.reason <> 'replayed') as l \
    left join \
    (select d.size_bytes as of_size, d.timestamp as of_stamp, d.kafka_topic as of_topic, d.kafka_partition as of_part, \
     d.kafka_offset as of_pos, d.ingested_at as replayed_at \
     from dead_letters d where d.reason = 'replayed') as m \
    on l.topic = m.of_topic and l.part = m.of_part and l.pos = m.of_pos and l.size_bytes = m.of_size \
    and l.stamp is not distinct from m.of_stamp";
