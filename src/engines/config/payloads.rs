//! Settings of the codec of Temporal's payloads: the keys that encrypt them, and whether they are compressed.

use super::notifier::named_keys;
use super::vars::Vars;
use crate::domain::Secret;

/// How payloads are stored at Temporal. All that was stored with any of the keys, and all that is compressed, can be read.
#[derive(Clone, Debug, Default)]
pub struct PayloadCodec {
    /// Keys with different ids.
    pub keys: Vec<PayloadKey>,
    /// Whether the first key encrypts new payloads.
    pub encrypts: bool,
    /// Whether large payloads are compressed.
    pub compresses: bool,
}

/// A key that encrypts payloads.
#[derive(Clone, Debug)]
pub struct PayloadKey {
    /// Names the key; stored with what it encrypted.
    pub id: String,
    /// 32 bytes, base64.
    pub key: Secret,
}

/// The first entry of `PAYLOAD_KEYS` if no key encrypts.
const NONE: &str = "none";

pub(super) fn read(vars: &mut Vars<'_>) -> PayloadCodec {
    const KEYS: &str = "PAYLOAD_KEYS";
    let text = vars.secret(KEYS).unwrap_or_default();
    let (encrypts, keys) = match text.split_once(',') {
        Some((first, rest)) if first.trim() == NONE => (false, rest),
        _ if text.is_empty() || text == NONE => (false, ""),
        _ => (true, text.as_str()),
    };
    let keys = match keys {
        "" => Vec::new(),
        keys => named_keys(vars, KEYS, keys),
    };
    let keys = keys.into_iter().map(|(id, key)| PayloadKey { id, key });
    PayloadCodec {
        keys: keys.collect(),
        encrypts,
        compresses: vars.flag("PAYLOAD_COMPRESSION", false),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;

    const ONE: &str = "one:MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
    const TWO: &str = "two:YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXphYmNkZWY=";

    /// Returns whether the first key encrypts, and the ids of all keys; or the faults.
    fn loaded(keys: &str) -> Result<(bool, Vec<String>), String> {
        let config = Config::of(&[("PAYLOAD_KEYS", keys)]);
        let codec = config
            .map_err(|faults| faults.to_string())?
            .temporal
            .payloads;
        let ids = codec.keys.into_iter().map(|key| key.id);
        Ok((codec.encrypts, ids.collect()))
    }

    #[test]
    fn the_first_key_encrypts_unless_none_comes_first() {
        let ids = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();

        assert_eq!(loaded(""), Ok((false, ids(&[]))));
        assert_eq!(loaded("none"), Ok((false, ids(&[]))));
        assert_eq!(
            loaded(&format!("{ONE}, {TWO}")),
            Ok((true, ids(&["one", "two"])))
        );
        assert_eq!(loaded(&format!("none,{TWO}")), Ok((false, ids(&["two"]))));
    }

    #[test]
    fn a_fault_names_the_variable_and_does_not_show_the_key() {
        for keys in [
            "one:c2VjcmV0",
            "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
            &format!("{ONE},none"),
            &format!("{ONE},{ONE}"),
        ] {
            let fault = loaded(keys).unwrap_err();

            assert!(fault.starts_with("PAYLOAD_KEYS: "), "{fault}");
            assert!(
                !fault.contains("c2VjcmV0") && !fault.contains("MDEy"),
                "{fault}"
            );
        }
    }
}
