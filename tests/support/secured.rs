//! What a secured broker needs: certificates, listeners with TLS, and grants.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use super::broker::Listeners;
use super::kafka::{PASSWORD, USER};

/// Who signs certificates, by the names of their files.
#[derive(Clone, Copy)]
pub enum Authority {
    /// Whom the broker trusts, and who has signed its certificate.
    Trusted,
    /// Somebody else.
    Other,
}

impl Authority {
    fn name(self) -> &'static str {
        match self {
            Authority::Trusted => "trusted-ca",
            Authority::Other => "other-ca",
        }
    }
}

/// A certificate with its key, each a file in PEM.
pub struct Certificate {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// Certificates in a folder, made with `openssl`, which is there wherever a system's own certificates are.
pub struct Certificates {
    folder: PathBuf,
}

impl Certificates {
    pub(super) fn in_folder(folder: &Path) -> Certificates {
        Certificates { folder: folder.join("certificates") }
    }

    /// Authorities in a folder, and a certificate of the trusted one for a server on this machine.
    pub fn of_a_server(folder: &Path) -> (Certificates, Certificate) {
        let certificates = Certificates::in_folder(folder);
        certificates.begin();
        let server = certificates.sign(Authority::Trusted, "server", true);
        (certificates, server)
    }

    /// The certificate of an authority.
    pub fn authority(&self, authority: Authority) -> PathBuf {
        self.folder.join(format!("{}.pem", authority.name()))
    }

    /// Makes both authorities and the broker's own certificate; gives the file with certificate and key of the broker.
    fn begin(&self) -> PathBuf {
        std::fs::create_dir_all(&self.folder).expect("the broker's folder is writable");
        // Only `openssl ca` can sign for times in the past, and it wants to keep books.
        let books = "[ca]\ndefault_ca = books\n[books]\ndatabase = index.txt\nnew_certs_dir = .\ndefault_md = sha256\n\
                     policy = policy\nrand_serial = yes\nunique_subject = no\n[policy]\ncommonName = supplied\n";
        self.write("ca.cnf", books);
        self.write("index.txt", "");
        self.write("names.cnf", "subjectAltName = IP:127.0.0.1\n");
        for authority in [Authority::Trusted, Authority::Other] {
            let name = authority.name();
            let mut request = vec!["req", "-x509", "-days", "3650"];
            let (subject, key, file) = (format!("/CN={name}"), format!("{name}.key"), format!("{name}.pem"));
            request.extend(NEW_KEY);
            request.extend(["-subj", &subject, "-keyout", &key, "-out", &file]);
            self.openssl(&request);
        }
        self.write_store(&self.sign(Authority::Trusted, "broker", true));
        self.folder.join("broker-store.pem")
    }

    /// A certificate for a name, which is that of a user. Where it is not valid any more, it was years ago.
    pub fn sign(&self, authority: Authority, name: &str, is_valid: bool) -> Certificate {
        // The books are kept by one at a time.
        static BOOKS: Mutex<()> = Mutex::new(());
        let _books = BOOKS.lock().unwrap_or_else(PoisonError::into_inner);
        let stem = format!("{name}-{}-{is_valid}", authority.name());
        let (subject, key, request) = (format!("/CN={name}"), format!("{stem}.key"), format!("{stem}.csr"));
        let mut words = vec!["req", "-new"];
        words.extend(NEW_KEY);
        words.extend(["-subj", &subject, "-keyout", &key, "-out", &request]);
        self.openssl(&words);
        let (ca_key, ca, file) =
            (format!("{}.key", authority.name()), format!("{}.pem", authority.name()), format!("{stem}.pem"));
        let end = if is_valid { "21000101000000Z" } else { "20200102000000Z" };
        self.openssl(&[
            "ca",
            "-batch",
            "-notext",
            "-config",
            "ca.cnf",
            "-extfile",
            "names.cnf",
            "-cert",
            &ca,
            "-keyfile",
            &ca_key,
            "-startdate",
            "20200101000000Z",
            "-enddate",
            end,
            "-in",
            &request,
            "-out",
            &file,
        ]);
        Certificate { certificate: self.folder.join(file), key: self.folder.join(key) }
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.folder.join(name), text).expect("the folder of certificates is writable");
    }

    /// Gives the broker a certificate of an authority; it takes it when it starts again.
    pub fn give_broker(&self, authority: Authority) {
        let broker = self.sign(authority, "broker", true);
        self.write_store(&broker);
    }

    /// The file with key and certificate of the broker.
    fn write_store(&self, broker: &Certificate) {
        let read = |path: &Path| std::fs::read_to_string(path).expect("openssl has written it");
        self.write("broker-store.pem", &format!("{}{}", read(&broker.key), read(&broker.certificate)));
    }

    fn openssl(&self, words: &[&str]) {
        let output = Command::new("openssl").args(words).current_dir(&self.folder).output();
        let output = output.expect("openssl is on the PATH");
        assert!(output.status.success(), "openssl {words:?} failed:\n{}", String::from_utf8_lossy(&output.stderr));
    }
}

/// Words of `openssl req` for a new key that needs no password.
const NEW_KEY: [&str; 5] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];

/// The listeners with TLS: one for SCRAM, one for client certificates. Who comes by the others may do anything.
pub(super) fn listeners(certificates: &Certificates, [scram, certificate]: [u16; 2]) -> Listeners {
    let store = certificates.begin();
    let properties = [
        ("authorizer.class.name", "org.apache.kafka.metadata.authorizer.StandardAuthorizer".to_owned()),
        ("super.users", "User:ANONYMOUS".to_owned()),
        ("ssl.keystore.type", "PEM".to_owned()),
        ("ssl.keystore.location", store.display().to_string()),
        ("ssl.truststore.type", "PEM".to_owned()),
        ("ssl.truststore.location", certificates.authority(Authority::Trusted).display().to_string()),
        ("ssl.principal.mapping.rules", "RULE:^CN=(.*?)$/$1/,DEFAULT".to_owned()),
        ("listener.name.certificate.ssl.client.auth", "required".to_owned()),
        ("listener.name.scram.sasl.enabled.mechanisms", "SCRAM-SHA-512".to_owned()),
        (
            "listener.name.scram.scram-sha-512.sasl.jaas.config",
            "org.apache.kafka.common.security.scram.ScramLoginModule required;".to_owned(),
        ),
    ];
    Listeners {
        listeners: format!(",SCRAM://127.0.0.1:{scram},CERTIFICATE://127.0.0.1:{certificate}"),
        protocols: ",SCRAM:SASL_SSL,CERTIFICATE:SSL",
        properties: properties.iter().map(|(name, value)| format!("{name}={value}\n")).collect(),
        format: vec!["--add-scram".to_owned(), format!("SCRAM-SHA-512=[name={USER},password={PASSWORD}]")],
    }
}

/// What a user may be granted, by its number in Kafka's protocol.
#[derive(Clone, Copy)]
pub enum Operation {
    Read = 3,
    Write = 4,
    Create = 5,
    Describe = 8,
}

/// What it is granted on.
#[derive(Clone, Copy)]
pub enum Resource<'a> {
    Topic(&'a str),
    Group(&'a str),
}

/// Grants it, at an address where everything is permitted. librdkafka can do that, its Rust crate cannot; so this is
/// CreateAcls (key 30, version 1) by hand.
pub(super) fn permit(address: &str, user: &str, operation: Operation, on: Resource<'_>) {
    let answer = ask(address, 30, 1, &grant(user, operation, on));
    // The time to wait, how many results there are, and the code of the only one.
    assert_eq!(answer.get(4..10), Some(&[0, 0, 0, 1, 0, 0][..]), "the broker does not grant it: {answer:?}");
}

/// Takes a grant back: DeleteAcls (key 31, version 1).
pub(super) fn withdraw(address: &str, user: &str, operation: Operation, on: Resource<'_>) {
    let answer = ask(address, 31, 1, &grant(user, operation, on));
    // Behind the code of the result: no text of an error, and how many grants there were that fit.
    let expected = [0, 0, 0, 1, 0, 0, 255, 255, 0, 0, 0, 1];
    assert_eq!(answer.get(4..16), Some(&expected[..]), "the broker does not take it back: {answer:?}");
}

/// Takes a user's password away: AlterUserScramCredentials (key 51, version 0), which is of Kafka's compact form.
pub(super) fn forget_password(address: &str, user: &str) {
    const SCRAM_SHA_512: u8 = 2;
    let mut request = vec![0, 2];
    request.push(user.len() as u8 + 1);
    request.extend(user.as_bytes());
    // No tags of the one that goes, none that come, no tags.
    request.extend([SCRAM_SHA_512, 0, 1, 0]);
    let answer = ask(address, 51, 0, &request);
    // The tags of the head, the time to wait, and one result: the user with its code.
    let mut expected = vec![0, 0, 0, 0, 0, 2, user.len() as u8 + 1];
    expected.extend(user.as_bytes());
    expected.extend([0, 0]);
    assert!(answer.starts_with(&expected), "the broker does not forget it: {answer:?}");
}

/// One grant, as it is given and as it is looked for.
fn grant(user: &str, operation: Operation, on: Resource<'_>) -> Vec<u8> {
    const ANY_HOST: &str = "*";
    const LITERAL: u8 = 3;
    const ALLOW: u8 = 3;
    let (kind, name) = match on {
        Resource::Topic(name) => (2, name),
        Resource::Group(name) => (3, name),
    };
    let mut grant = 1i32.to_be_bytes().to_vec();
    grant.push(kind);
    push_text(&mut grant, name);
    grant.push(LITERAL);
    push_text(&mut grant, &format!("User:{user}"));
    push_text(&mut grant, ANY_HOST);
    grant.extend([operation as u8, ALLOW]);
    grant
}

/// Sends a request; the answer, behind the number that it has of the request.
fn ask(address: &str, key: u8, version: u8, body: &[u8]) -> Vec<u8> {
    let mut request = vec![0, key, 0, version, 0, 0, 0, 1];
    push_text(&mut request, "tests");
    request.extend(body);
    let mut broker = TcpStream::connect(address).expect("the broker listens");
    broker.write_all(&(request.len() as i32).to_be_bytes()).expect("the broker reads");
    broker.write_all(&request).expect("the broker reads");
    let mut length = [0; 4];
    broker.read_exact(&mut length).expect("the broker answers");
    let mut answer = vec![0; u32::from_be_bytes(length) as usize];
    broker.read_exact(&mut answer).expect("the broker answers whole");
    assert_eq!(answer.get(..4), Some(&[0, 0, 0, 1][..]), "the broker answers something else: {answer:?}");
    answer.split_off(4)
}

fn push_text(request: &mut Vec<u8>, text: &str) {
    request.extend((text.len() as i16).to_be_bytes());
    request.extend(text.as_bytes());
}
