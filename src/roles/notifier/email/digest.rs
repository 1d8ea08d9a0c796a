//! The digest mail for operators: the view for its templates, and the message. Pure, except for the date.

use lettre::{Address, Message};
use uuid::Uuid;

use super::message::{Error, begin, bodies};
use super::templates::Templates;
use crate::contract::digest::Gathered;
use crate::domain::email_address::FromAddress;

/// Value of `X-Genflow-Event`, for mail filters.
const ABOUT: &str = "genflow.operators.failures";
/// UUID namespace of message ids.
const NAMESPACE: Uuid = Uuid::from_u128(0x3f0c_1f6a_92a5_4a62_8f2b_5d6b_c0de_7a11);

/// Returns the message. The same failures always give the same message and message id, except for the date.
pub(super) fn write(
    gathered: &Gathered,
    from: &FromAddress,
    to: Address,
    templates: &Templates,
) -> Result<Message, Error> {
    let words = templates.render_digest(gathered)?;
    let message = begin(from, to, ABOUT.to_owned())
        .subject(words.subject)
        .message_id(Some(format!("<{}@{}>", id(gathered), from.domain())));
    Ok(message.multipart(bodies(words.text, words.html))?)
}

/// Returns the message id. An event counts only once, so the listed events and the total identify the message.
fn id(gathered: &Gathered) -> Uuid {
    let mut name = gathered.total.to_string();
    for failed in &gathered.first {
        name.push('/');
        name.push_str(&failed.event_id);
    }
    Uuid::new_v5(&NAMESPACE, name.as_bytes())
}

#[cfg(test)]
mod tests {
    use mail_parser::MessageParser;

    use super::*;
    use crate::contract::digest::Failed;
    use crate::contract::digest::tests::{failed, gathered};
    use crate::domain::email_address::recipient;

    fn written(gathered: &Gathered) -> String {
        let from = "genflow@mail.test".parse().unwrap();
        let to = recipient("ops@example.org").unwrap();
        let templates = Templates::load(None).unwrap();
        let mail = write(gathered, &from, to, &templates).unwrap().formatted();
        String::from_utf8(mail).unwrap()
    }

    fn message_id(mail: &str) -> String {
        let mail = MessageParser::default().parse(mail.as_bytes()).unwrap();
        mail.message_id().unwrap().to_owned()
    }

    #[test]
    fn many_failures_are_one_mail_of_counts_and_of_the_first() {
        let raw = written(&gathered(5000));

        let mail = MessageParser::default().parse(raw.as_bytes()).unwrap();
        assert_eq!(mail.subject(), Some("5000 requests failed"));
        let header = |name: &'static str| mail.header_raw(name).unwrap().trim().to_owned();
        assert_eq!(header("Auto-Submitted"), "auto-generated");
        assert_eq!(header("X-Genflow-Event"), ABOUT);
        assert_eq!(header("To"), "ops@example.org");
        for body in [mail.body_text(0).unwrap(), mail.body_html(0).unwrap()] {
            assert!(body.contains("content_policy") && body.contains("2500"));
            assert!(body.contains("order-19") && !body.contains("order-20"));
            assert!(body.contains("and 4980 more"), "{body}");
        }
    }

    #[test]
    fn one_message_has_one_id_and_another_has_another() {
        let one = message_id(&written(&gathered(3)));

        assert_eq!(message_id(&written(&gathered(3))), one);
        assert!(one.ends_with("@mail.test"));
        let mut more = gathered(3);
        more.add(failed(3, "timed_out"));
        assert_ne!(message_id(&written(&more)), one);
        let many = message_id(&written(&gathered(30)));
        assert_ne!(message_id(&written(&gathered(31))), many);
    }

    #[test]
    fn text_of_users_adds_no_header_and_no_html() {
        let evil = "x\r\nBcc: victim@example.org\r\n\r\n<script>alert(1)</script>";
        let mut hostile = Gathered::default();
        hostile.add(Failed {
            request_id: evil.to_owned(),
            user_id: evil.to_owned(),
            message: evil.to_owned(),
            event_id: evil.to_owned(),
            ..failed(1, evil)
        });

        let raw = written(&hostile);

        let mail = MessageParser::default().parse(raw.as_bytes()).unwrap();
        assert!(mail.header_raw("Bcc").is_none());
        let html = mail.body_html(0).unwrap();
        assert!(!html.contains("<script") && html.contains("&lt;script&gt;"));
        let text = mail.body_text(0).unwrap();
        assert!(!text.lines().any(|line| line.starts_with("Bcc:")), "{text}");
    }
}
