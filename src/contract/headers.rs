//! Headers of records (contract, section 5).

/// The API key of who sends; in any case of its letters. Never passed on, to no topic.
pub const API_KEY: &str = "x-api-key";
/// Header of a record that is taken however old it is: `true`, set by `genflow dlq redrive --accept-old`.
///
/// Whoever can write it can write to `gen.requests`, and could as well send the same request anew, with today's time
/// and an id of their own: it opens no door that is shut. It spends money twice only where an operator says so of an
/// id that ran before and that Temporal has forgotten.
pub const ACCEPT_OLD: &str = "genflow-accept-old";
/// Header of a redriven record: when it first came, in milliseconds since the epoch. Without it a record would be
/// young again each time it is sent, and its id could run a second time. It makes a record older, never younger.
pub const FIRST_SEEN: &str = "genflow-first-seen";
