//! A proxy in front of the simulator. It holds a submit at the point that a test has planned, and then cuts its
//! connection or passes its answer on.
//!
//! The proxy identifies a submit by its idempotency key, and holds only the first submit of a key. A held submit has
//! certainly reached its point: for example, if its answer is cut, the simulator has answered and has the job.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{SOON, within};

/// How much of a submit the provider has when its connection is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// Nothing, although the connection is established.
    Unread,
    AmidstHead,
    AmidstBody,
    /// The whole submit; the client gets nothing of the answer.
    AfterBody,
    /// The whole submit; the client gets half of the answer.
    AmidstAnswer,
}

impl Cut {
    pub(crate) const ALL: [Self; 5] = [
        Self::Unread,
        Self::AmidstHead,
        Self::AmidstBody,
        Self::AfterBody,
        Self::AmidstAnswer,
    ];

    /// Whether the provider has the whole submit.
    pub(crate) fn arrives(self) -> bool {
        match self {
            Self::Unread | Self::AmidstHead | Self::AmidstBody => false,
            Self::AfterBody | Self::AmidstAnswer => true,
        }
    }
}

/// What happens to a held submit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    Cut,
    Answered,
}

/// Forwards connections to the simulator until dropped.
pub(crate) struct Cutter {
    pub(crate) url: String,
    shared: Arc<Shared>,
    serving: JoinHandle<()>,
}

struct Shared {
    /// `host:port` of the simulator.
    provider: String,
    /// Planned cuts, by key.
    plan: Mutex<BTreeMap<String, Cut>>,
    /// Number of submits that have reached their points.
    held: watch::Sender<usize>,
    /// What happens to them there.
    then: watch::Sender<Option<Then>>,
}

impl Cutter {
    pub(crate) async fn before(simulator: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared {
            provider: simulator.strip_prefix("http://").unwrap().to_owned(),
            plan: Mutex::default(),
            held: watch::Sender::default(),
            then: watch::Sender::default(),
        });
        let sharing = shared.clone();
        let serving = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                tokio::spawn(carry(client, sharing.clone()));
            }
        });
        Self {
            url,
            shared,
            serving,
        }
    }

    /// Plans a cut of the first submit under that key.
    pub(crate) fn plan(&self, key: &str, cut: Cut) {
        self.shared.plan.lock().unwrap().insert(key.to_owned(), cut);
    }

    /// Waits until `count` submits have reached their points.
    pub(crate) async fn held(&self, count: usize) {
        let mut held = self.shared.held.subscribe();
        let all = held.wait_for(|held| *held == count);
        within(SOON, "the submits reach their points", all)
            .await
            .unwrap();
    }

    /// Cuts held submits, and later ones as soon as they reach their points.
    pub(crate) fn cut(&self) {
        self.shared.then.send_replace(Some(Then::Cut));
    }

    /// Passes held submits on completely, and their answers.
    pub(crate) fn answer(&self) {
        self.shared.then.send_replace(Some(Then::Answered));
    }
}

impl Drop for Cutter {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Forwards one connection; ends early if either side closes it.
async fn carry(mut client: TcpStream, shared: Arc<Shared>) -> io::Result<()> {
    let mut request = Vec::new();
    let head = read_head(&mut client, &mut request).await?;
    let key = field(&request[..head], "idempotency-key").unwrap_or_default();
    let planned = shared.plan.lock().unwrap().remove(&key);
    let Some(cut) = planned else {
        let mut provider = TcpStream::connect(&shared.provider).await?;
        provider.write_all(&request).await?;
        copy_bidirectional(&mut client, &mut provider).await?;
        return Ok(());
    };
    read_body(&mut client, &mut request, head).await?;
    let had = match cut {
        Cut::Unread => 0,
        Cut::AmidstHead => head / 2,
        Cut::AmidstBody => usize::midpoint(head, request.len()),
        Cut::AfterBody | Cut::AmidstAnswer => request.len(),
    };
    let mut provider = TcpStream::connect(&shared.provider).await?;
    provider.write_all(&request[..had]).await?;
    let mut answer = Vec::new();
    if cut.arrives() {
        let head = read_head(&mut provider, &mut answer).await?;
        read_body(&mut provider, &mut answer, head).await?;
        if cut == Cut::AmidstAnswer {
            client.write_all(&answer[..answer.len() / 2]).await?;
        }
    }
    shared.held.send_modify(|held| *held += 1);
    let mut then = shared.then.subscribe();
    let then = then
        .wait_for(Option::is_some)
        .await
        .ok()
        .and_then(|then| *then);
    if then != Some(Then::Answered) {
        return Ok(());
    }
    if !cut.arrives() {
        provider.write_all(&request[had..]).await?;
        let head = read_head(&mut provider, &mut answer).await?;
        read_body(&mut provider, &mut answer, head).await?;
    }
    client.write_all(&answer).await
}

/// Reads a complete head, and returns its length.
async fn read_head(from: &mut TcpStream, into: &mut Vec<u8>) -> io::Result<usize> {
    loop {
        if let Some(at) = into.windows(4).position(|window| window == b"\r\n\r\n") {
            return Ok(at + 4);
        }
        more(from, into).await?;
    }
}

/// Reads the body that the head announces.
async fn read_body(from: &mut TcpStream, into: &mut Vec<u8>, head: usize) -> io::Result<()> {
    let length = field(&into[..head], "content-length");
    let length: usize = length.and_then(|text| text.parse().ok()).unwrap();
    while into.len() < head + length {
        more(from, into).await?;
    }
    Ok(())
}

async fn more(from: &mut TcpStream, into: &mut Vec<u8>) -> io::Result<()> {
    match from.read_buf(into).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

fn field(head: &[u8], name: &str) -> Option<String> {
    let text = String::from_utf8_lossy(head);
    let fields = text.lines().filter_map(|line| line.split_once(':'));
    fields
        .filter(|(known, _)| known.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim().to_owned())
        .next()
}
