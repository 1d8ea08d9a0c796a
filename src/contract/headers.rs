//! Headers of incoming and redriven records; `engines::publisher` adds those of events (contract, promise 2 and 5.12).

/// The sender's API key; the name is compared without regard to case. It is never passed on to another topic.
pub const API_KEY: &str = "x-api-key";
/// With the value `true`, intake accepts a record of any age; set by `genflow dlq redrive --accept-old`.
///
/// It grants nothing new: a producer that can set it can write to `gen.requests`, so it can also
/// send the request again with a new id and today's time. Money is spent twice only if the accepted
/// id already ran and Temporal no longer retains it.
pub const ACCEPT_OLD: &str = "genflow-accept-old";
/// Header of a redriven record: when it first arrived, in milliseconds since the epoch. Without it a redriven
/// record would count as new, and its id could run a second time. It can only make a record older, never younger.
pub const FIRST_SEEN: &str = "genflow-first-seen";
