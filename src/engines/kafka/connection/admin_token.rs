//! Gives a token to an admin client.
//!
//! Of rdkafka's clients, consumers and producers ask their context for a token. Its admin client does not: it never polls
//! the queue with that request, and no safe function sets a token. This call is the only unsafe code of the package.
#![expect(
    unsafe_code,
    reason = "rdkafka has no safe function that gives an admin client a token"
)]

use std::ffi::{CStr, CString, NulError, c_char};

use rdkafka::ClientContext;
use rdkafka::bindings::rd_kafka_oauthbearer_set_token;
use rdkafka::client::{Client, OAuthToken};
use rdkafka::types::RDKafkaRespErr;

use super::Refusal;

const NOT_USABLE: &str = "the token of KAFKA_SASL_OAUTHBEARER_TOKEN_ENDPOINT_URL is not usable: check that this is a token endpoint";

/// Sets the token of `client`, which uses it for its next connection.
///
/// # Errors
/// librdkafka does not take the token.
pub(super) fn set<C: ClientContext>(client: &Client<C>, token: &OAuthToken) -> Result<(), Refusal> {
    let null = |error: NulError| Refusal::no_token(NOT_USABLE, error, false);
    let value = CString::new(token.token.as_str()).map_err(null)?;
    let principal = CString::new(token.principal_name.as_str()).map_err(null)?;
    let mut reason: [c_char; 512] = [0; 512];
    // SAFETY: the client lives through the call. librdkafka copies both strings, which end with a null byte, takes no
    // extensions, and writes at most `reason.len()` bytes with a null byte at their end.
    let code = unsafe {
        rd_kafka_oauthbearer_set_token(
            client.native_ptr(),
            value.as_ptr(),
            token.lifetime_ms,
            principal.as_ptr(),
            std::ptr::null_mut(),
            0,
            reason.as_mut_ptr(),
            reason.len(),
        )
    };
    if code == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
        return Ok(());
    }
    // SAFETY: the buffer was zeroed, and its last byte is still zero.
    let reason = unsafe { CStr::from_ptr(reason.as_ptr()) };
    Err(Refusal::no_token(
        NOT_USABLE,
        reason.to_string_lossy(),
        false,
    ))
}
