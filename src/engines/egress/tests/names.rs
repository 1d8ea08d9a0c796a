//! A small name server on loopback, over UDP, that answers from a script.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::op::{Message, OpCode, ResponseCode};
use hickory_resolver::proto::rr::{RData, Record, RecordType};
use tokio::net::UdpSocket;

/// One answer: addresses, or a server failure.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    Addresses(Vec<IpAddr>),
    Failure,
}

/// Answers the lookups of each address family in the order of the script; repeats the last answer.
pub(super) struct NameServer {
    pub(super) resolver: TokioResolver,
    asked: Arc<Mutex<Vec<String>>>,
}

pub(super) fn addresses(all: &[&str]) -> Answer {
    Answer::Addresses(all.iter().map(|ip| ip.parse().unwrap()).collect())
}

impl NameServer {
    pub(super) async fn start(script: Vec<Answer>) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let port = socket.local_addr().unwrap().port();
        let asked = Arc::<Mutex<Vec<String>>>::default();
        tokio::spawn(serve(socket, script, asked.clone()));
        let mut connection = ConnectionConfig::udp();
        connection.port = port;
        let server = NameServerConfig::new(Ipv4Addr::LOCALHOST.into(), true, vec![connection]);
        let mut config = ResolverConfig::from_name_servers(vec![server]);
        config.add_search("search.example.".parse().unwrap());
        let mut builder =
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        builder.options_mut().use_hosts_file = ResolveHosts::Never;
        builder.options_mut().ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        Self {
            resolver: builder.build().unwrap(),
            asked,
        }
    }

    /// The names looked up, one per IPv4 lookup.
    pub(super) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

async fn serve(socket: UdpSocket, script: Vec<Answer>, asked: Arc<Mutex<Vec<String>>>) {
    let mut buffer = [0; 1500];
    // Each family reads the script on its own.
    let (mut v4, mut v6) = (0, 0);
    loop {
        let (length, client) = socket.recv_from(&mut buffer).await.unwrap();
        let request = Message::from_vec(&buffer[..length]).unwrap();
        let query = request.queries[0].clone();
        let nth = if query.query_type() == RecordType::AAAA {
            &mut v6
        } else {
            asked.lock().unwrap().push(query.name().to_string());
            &mut v4
        };
        let answer = &script[(*nth).min(script.len() - 1)];
        *nth += 1;
        let mut response = Message::response(request.metadata.id, OpCode::Query);
        match answer {
            Answer::Failure => response.metadata.response_code = ResponseCode::ServFail,
            Answer::Addresses(all) => {
                let ours = all
                    .iter()
                    .filter(|ip| ip.is_ipv6() == (query.query_type() == RecordType::AAAA));
                // TTL 0, as an attacker who rebinds would set it.
                let records =
                    ours.map(|ip| Record::from_rdata(query.name().clone(), 0, RData::from(*ip)));
                response.add_answers(records);
            }
        }
        response.add_query(query);
        socket
            .send_to(&response.to_vec().unwrap(), client)
            .await
            .unwrap();
    }
}
