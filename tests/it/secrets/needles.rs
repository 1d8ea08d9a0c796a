//! Needles, and the search for them in any bytes: plain, as hex, in base64 at each alignment, and in decoded base64.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use base64::Engine as _;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::general_purpose::STANDARD as BASE64;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use uuid::Uuid;

/// Unique secrets: each has a name, and consists of letters and digits.
#[derive(Default)]
pub(crate) struct Needles {
    texts: BTreeMap<&'static str, String>,
    /// All forms of the needles, by their first bytes.
    forms: HashMap<[u8; START], Vec<(&'static str, Vec<u8>)>>,
}

/// How many bytes of a form are the key of the lookup.
const START: usize = 8;
/// The shortest text that is worth decoding, and how often the result is decoded again.
const SHORTEST: usize = 16;
const DEPTH: usize = 4;

impl Needles {
    /// Creates a needle with that name.
    pub(crate) fn make(&mut self, name: &'static str) -> String {
        self.add(name, format!("{name}{}", Uuid::new_v4().simple()))
    }

    /// Creates a needle with as many letters as a key has bytes, and returns it in base64, as in settings.
    pub(crate) fn make_key(&mut self, name: &'static str) -> String {
        let mut text = format!("{name}{}", Uuid::new_v4().simple());
        text.truncate(32);
        BASE64.encode(self.add(name, text))
    }

    fn add(&mut self, name: &'static str, text: String) -> String {
        for form in forms(&text) {
            let start = *form.first_chunk().unwrap();
            self.forms.entry(start).or_default().push((name, form));
        }
        assert!(
            self.texts.insert(name, text.clone()).is_none(),
            "{name} twice"
        );
        text
    }

    /// Returns the names of all needles.
    pub(crate) fn names(&self) -> BTreeSet<&'static str> {
        self.texts.keys().copied().collect()
    }

    /// Returns the names of the needles in `hay`.
    pub(crate) fn found(&self, hay: &[u8]) -> BTreeSet<&'static str> {
        let mut found = BTreeSet::new();
        let mut layer = vec![hay.to_vec()];
        for _ in 0..=DEPTH {
            for hay in &layer {
                self.find(hay, &mut found);
            }
            layer = layer.iter().flat_map(|hay| decoded(hay)).collect();
        }
        found
    }

    fn find(&self, hay: &[u8], found: &mut BTreeSet<&'static str>) {
        for (at, start) in hay.windows(START).enumerate() {
            let forms = self.forms.get(start).into_iter().flatten();
            let standing = forms.filter(|(_, form)| hay[at..].starts_with(form));
            found.extend(standing.map(|(name, _)| *name));
        }
    }
}

/// Returns the forms of a needle, without bits of the surrounding text.
fn forms(text: &str) -> Vec<Vec<u8>> {
    let bytes = text.as_bytes();
    let mut forms = vec![
        bytes.to_vec(),
        bytes
            .iter()
            .flat_map(|byte| format!("{byte:02x}").into_bytes())
            .collect(),
    ];
    for engine in engines() {
        for before in 0..3 {
            let padded = [&[0; 2][..before], bytes].concat();
            let encoded = engine.encode(&padded).trim_end_matches('=').to_owned();
            // The first characters contain bits of the text before the needle, the last one of the text after it.
            let first = [0, 2, 3][before];
            let last = encoded.len() - usize::from(padded.len() % 3 != 0);
            forms.push(encoded.as_bytes()[first..last].to_vec());
        }
    }
    forms
}

/// Decodes each run of base64 characters.
fn decoded(hay: &[u8]) -> Vec<Vec<u8>> {
    let of_base64 =
        |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_');
    let runs = hay.split(|byte| !of_base64(byte));
    let long = runs.filter(|run| run.len() >= SHORTEST);
    long.flat_map(|run| {
        let whole = run.len() - usize::from(run.len() % 4 == 1);
        engines().map(|engine| engine.decode(&run[..whole]))
    })
    .flatten()
    .collect()
}

fn engines() -> [GeneralPurpose; 2] {
    let lenient = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true);
    [&STANDARD, &URL_SAFE].map(|alphabet| GeneralPurpose::new(alphabet, lenient))
}

#[test]
fn a_needle_is_found_however_it_is_written() {
    let mut needles = Needles::default();
    let text = needles.make("token");
    needles.make("other");
    let [standard, url_safe] = engines();
    let hex: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
    let mut hays = vec![format!("GET /{text}?x"), hex];
    for before in ["", "a", "ab", "abc", "~~~", "\u{ff}"] {
        for after in ["", "\"", "?>", "\u{3ff}\u{3ff}"] {
            let plain = format!("{before}{text}{after}");
            let once = standard.encode(&plain);
            let payload = standard.encode(format!("{{\"raw\":\"{once}\",\"at\":7}}"));
            hays.push(format!("{{\"data\":\"{payload}\"}}"));
            hays.push(format!("n{once}"));
            hays.push(url_safe.encode(&plain));
        }
    }
    for hay in &hays {
        assert_eq!(
            needles.found(hay.as_bytes()),
            BTreeSet::from(["token"]),
            "{hay}"
        );
    }
    let cut = &text[..text.len() - 1];
    assert!(needles.found(cut.as_bytes()).is_empty());
    assert!(needles.found(standard.encode(cut).as_bytes()).is_empty());
}
