//! Builds the message: headers and the two bodies. Pure, except for the date and the MIME boundary.

use lettre::message::header::{ContentTransferEncoding, HeaderName, HeaderValue};
use lettre::message::{Mailbox, MessageBuilder, MultiPart, SinglePart, header};
use lettre::{Address, Message};
use minijinja::HtmlEscape;
use uuid::Uuid;

use super::templates::Templates;
use crate::domain::email_address::FromAddress;
use crate::roles::notifier::attempt::Notice;
use crate::roles::notifier::digest_text::DigestText;
use crate::roles::notifier::wording::line;

/// Why a message cannot be built.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("an email template cannot render the event")]
    Template(#[from] minijinja::Error),
    #[error("a part of the message is missing")]
    Incomplete(#[from] lettre::error::Error),
}

const AUTO_SUBMITTED: HeaderName = HeaderName::new_from_ascii_str("Auto-Submitted");
const REQUEST: HeaderName = HeaderName::new_from_ascii_str("X-Genflow-Request");
const TRACE: HeaderName = HeaderName::new_from_ascii_str("traceparent");
const EVENT: HeaderName = HeaderName::new_from_ascii_str("X-Genflow-Event");

/// Value of `X-Genflow-Event` in mails to operators, for mail filters.
const FAILURES: &str = "genflow.operators.failures";
/// UUID namespace of the ids of mails to operators.
const DIGEST_IDS: Uuid = Uuid::from_u128(0x3f0c_1f6a_92a5_4a62_8f2b_5d6b_c0de_7a11);

/// Returns the message about an event. A repeat differs only in date and MIME boundary.
pub(super) fn about_event(
    notice: &Notice<'_>,
    from: &FromAddress,
    to: Address,
    templates: &Templates,
) -> Result<Message, Error> {
    let event = notice.event;
    let words = templates.render(event)?;
    let id = |event: &str| format!("<{}@{}>", line(event, 100), from.domain());
    let mut message = begin(from, to, event.event_type.cloud_type())
        .subject(words.subject)
        .message_id(Some(id(&event.event_id)))
        .raw_header(HeaderValue::new(REQUEST, line(&event.request_id, 200)));
    if let Some(trace) = notice.traceparent {
        message = message.raw_header(HeaderValue::new(TRACE, line(trace, 100)));
    }
    // Mail programs group messages that refer to one id, even if no message has it.
    let thread = id(&event.thread_id());
    message = message.in_reply_to(thread.clone()).references(thread);
    Ok(message.multipart(bodies(words.text, words.html))?)
}

/// Returns the message to the operators about failures. A repeat differs only in date and MIME boundary.
pub(super) fn about_failures(
    digest: &DigestText,
    from: &FromAddress,
    to: Address,
) -> Result<Message, Error> {
    let id = Uuid::new_v5(&DIGEST_IDS, digest.id.as_bytes());
    let text = digest.plain() + "\n\n-- \nSent by genflow to the address that OPS_EMAIL names.";
    let html = format!(
        "<!doctype html>\n<meta charset=\"utf-8\">\n<pre style=\"white-space:pre-wrap\">{}</pre>",
        HtmlEscape(&text)
    );
    let message = begin(from, to, FAILURES.to_owned())
        .subject(&digest.title)
        .message_id(Some(format!("<{id}@{}>", from.domain())));
    Ok(message.multipart(bodies(text, html))?)
}

/// Begins a message; `about` is for mail filters.
fn begin(from: &FromAddress, to: Address, about: String) -> MessageBuilder {
    Message::builder()
        .from(from.mailbox())
        .to(Mailbox::new(None, to))
        .date_now()
        // Keeps mailboxes from sending out-of-office replies.
        .raw_header(HeaderValue::new(
            AUTO_SUBMITTED,
            "auto-generated".to_owned(),
        ))
        .raw_header(HeaderValue::new(EVENT, about))
}

/// Returns the two bodies, of which a mail program shows one.
fn bodies(text: String, html: String) -> MultiPart {
    MultiPart::alternative()
        .singlepart(part(header::ContentType::TEXT_PLAIN, text))
        .singlepart(part(header::ContentType::TEXT_HTML, html))
}

/// Returns a body encoded as ASCII lines, which all servers accept, including those without 8BITMIME.
fn part(kind: header::ContentType, body: String) -> SinglePart {
    let body =
        lettre::message::Body::new_with_encoding(body, ContentTransferEncoding::QuotedPrintable);
    // `Err` holds a body that the encoding cannot represent, but quoted-printable can represent every text.
    let body = body.unwrap_or_else(lettre::message::Body::new);
    SinglePart::builder().header(kind).body(body)
}
