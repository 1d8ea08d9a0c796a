//! What a channel delivers, and the result of one attempt; the same for all channels.

use std::time::Duration;

use crate::contract::receipt::DeliveryError;
use crate::domain::Event;

/// One event for one target. The target itself is an argument of its channel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Notice<'l> {
    /// The event to deliver. Its id is the same in all attempts, so receivers can detect a repeat.
    pub(super) event: &'l Event,
    /// W3C trace context of the event's record.
    pub(super) traceparent: Option<&'l str>,
}

/// Nothing was sent: the target's rate limit is used up. Holds how long to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotNow(pub(super) Duration);

/// The result of one attempt. A status is an HTTP status or an SMTP reply code.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Tried {
    /// The target, or the mail server, accepted the message.
    Delivered(u16),
    /// The message will never be accepted.
    Refused {
        /// Status of the answer; `None` if the message was not sent.
        status: Option<u16>,
        /// Why. The code is from a closed list. The text contains nothing of the target, and of its answer only the
        /// status and Slack's own error words.
        error: DeliveryError,
    },
    /// A later attempt may succeed.
    Later {
        /// Status of the answer, if there was one.
        status: Option<u16>,
        error: DeliveryError,
        /// The pause that the target asks for.
        again_in: Option<Duration>,
    },
}
