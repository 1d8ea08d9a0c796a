//! What a channel is asked to deliver, and what one try came to; the same for all channels.

use std::time::Duration;

use crate::contract::receipt::DeliveryError;
use crate::domain::Event;

/// One event on its way to one target. The target itself is an argument of its channel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Letter<'l> {
    /// What is told. Its id is the same on all tries, and names the message to whoever gets it.
    pub(super) event: &'l Event,
    /// W3C trace context of the event's record.
    pub(super) traceparent: Option<&'l str>,
}

/// Nothing was sent: the target has had what it takes in this second. Says how long to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Held(pub(super) Duration);

/// What one try came to. A status is that of HTTP, or the reply code of SMTP.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Tried {
    /// The other side took it.
    Delivered(u16),
    /// It never will.
    Refused {
        /// What it answered, if it did.
        status: Option<u16>,
        /// Why; the code is of a closed list, the text says nothing of the target and echoes nothing of it.
        error: DeliveryError,
    },
    /// It may at another try.
    Later {
        /// What it answered, if it did.
        status: Option<u16>,
        /// Why not this time.
        error: DeliveryError,
        /// How long it asks us to wait.
        again_in: Option<Duration>,
    },
}
