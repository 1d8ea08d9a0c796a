//! Certificates of a broker and its clients, made by openssl for this run.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Files in PEM.
pub(crate) struct Certificates {
    /// The authority of all but `foreign_*`.
    pub(crate) ca: PathBuf,
    /// An authority that the broker does not know.
    pub(crate) foreign_ca: PathBuf,
    /// Key and certificate of the broker.
    pub(crate) server_store: PathBuf,
    pub(crate) expired_store: PathBuf,
    pub(crate) client: Pair,
    pub(crate) expired_client: Pair,
    pub(crate) foreign_client: Pair,
    /// The client's key, encrypted with [`KEY_PASSWORD`].
    pub(crate) locked_key: PathBuf,
}

pub(crate) const KEY_PASSWORD: &str = "key,pass=word";

pub(crate) struct Pair {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl Certificates {
    pub(super) fn create(folder: &Path) -> Self {
        let authority = |name: &str| {
            let arguments = format!(
                "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout {name}.key -out {name}.pem -subj /CN={name} -days 2"
            );
            openssl(folder, &arguments);
        };
        authority("ca");
        authority("foreign");
        std::fs::write(
            folder.join("names"),
            "subjectAltName=DNS:localhost,IP:127.0.0.1\n",
        )
        .unwrap();
        let pair = |name: &str, subject: &str, ca: &str, days: i32| {
            openssl(
                folder,
                &format!(
                    "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout {name}.key -out {name}.csr -subj /CN={subject}"
                ),
            );
            openssl(
                folder,
                &format!(
                    "x509 -req -in {name}.csr -CA {ca}.pem -CAkey {ca}.key -CAcreateserial -extfile names -days {days} -out {name}.pem"
                ),
            );
            Pair {
                certificate: folder.join(format!("{name}.pem")),
                key: folder.join(format!("{name}.key")),
            }
        };
        let store = |name: &str, pair: &Pair| {
            let read = |path: &Path| std::fs::read_to_string(path).unwrap();
            let path = folder.join(format!("{name}-store.pem"));
            let text = read(&pair.key) + &read(&pair.certificate) + &read(&folder.join("ca.pem"));
            std::fs::write(&path, text).unwrap();
            path
        };
        let server = pair("server", "localhost", "ca", 2);
        let old = pair("old", "localhost", "ca", -1);
        let client = pair("client", "genflow", "ca", 2);
        openssl(
            folder,
            &format!(
                "pkcs8 -topk8 -v2 aes-256-cbc -in client.key -out locked.key -passout pass:{KEY_PASSWORD}"
            ),
        );
        Self {
            ca: folder.join("ca.pem"),
            foreign_ca: folder.join("foreign.pem"),
            server_store: store("server", &server),
            expired_store: store("old", &old),
            client,
            expired_client: pair("late", "genflow", "ca", -1),
            foreign_client: pair("stranger", "genflow", "foreign", 2),
            locked_key: folder.join("locked.key"),
        }
    }
}

pub(super) fn openssl(folder: &Path, arguments: &str) {
    let mut command = Command::new("openssl");
    command.args(arguments.split(' ')).current_dir(folder);
    let done = command.output().unwrap();
    let printed = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "openssl {arguments}: {printed}");
}
