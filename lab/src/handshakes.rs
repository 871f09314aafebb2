//! `lab handshakes`: what a handshake costs the service, by certificate, resumed or not, with and without a client's
//! certificate.
//!
//! One client makes them one after the other. Each ends when the first bytes of HTTP/2 have come, which the service
//! sends once it has finished its part, so whatever a client has to learn to resume has come as well.

use std::{
    io::{self, Write as _},
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
};

use clap::Args;
use thiserror::Error;
use tokio::{io::AsyncReadExt as _, net::TcpStream};
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, HandshakeKind, client::Resumption, pki_types::ServerName},
};
use tollgate::certificates::{CertificateError, ClientTls, OwnFiles, Verify};

use crate::{
    bench::{
        proc::{self, ProcError},
        stats::Spread,
    },
    binaries::checkout,
    process::ProcessError,
    report::Table,
    tollgate::{Serve, Tollgate},
};

/// Measure the CPU time that a TLS handshake costs the service
#[derive(Debug, Args)]
pub struct HandshakesArgs {
    /// Handshakes of each kind and round
    #[arg(long, default_value_t = 500)]
    count: u32,
    #[arg(long, default_value_t = 5)]
    rounds: u32,
}

#[derive(Debug, Error)]
pub enum HandshakesError {
    #[error(transparent)]
    Process(#[from] ProcessError),
    #[error(transparent)]
    Proc(#[from] ProcError),
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    #[error("a handshake failed")]
    Handshake(#[from] io::Error),
    #[error("a handshake was {found:?}, where {wanted:?} was to be measured")]
    Kind { found: Option<HandshakeKind>, wanted: HandshakeKind },
}

/// The key of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    P256,
    Rsa2048,
}

/// Whether clients show a certificate, of P-256.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mutual {
    Yes,
    No,
}

/// One line of the table.
struct Subject {
    kind: Kind,
    mutual: Mutual,
    wanted: HandshakeKind,
    config: Arc<ClientConfig>,
    costs_us: Vec<f64>,
}

/// The files of a certificate for tests, which issued itself, and of its key.
pub fn certificate(kind: Kind) -> [PathBuf; 2] {
    let name = match kind {
        Kind::P256 => "ec",
        Kind::Rsa2048 => "rsa",
    };
    ["pem", "key"].map(|ending| checkout().join(format!("tests/tls/keys/{name}.{ending}")))
}

pub async fn run(args: &HandshakesArgs) -> Result<(), HandshakesError> {
    let limits = checkout().join("examples/demo.yaml");
    let mut served = Vec::new();
    for kind in [Kind::P256, Kind::Rsa2048] {
        for mutual in [Mutual::No, Mutual::Yes] {
            let tollgate = Tollgate::start(&serve(&limits, kind, mutual)).await?;
            served.push((tollgate, subjects(kind, mutual)?));
        }
    }
    for _ in 0..args.rounds {
        for (tollgate, subjects) in &mut served {
            for subject in subjects {
                subject.measure(tollgate, args.count).await?;
            }
        }
    }
    let rows = served.iter().flat_map(|(_, subjects)| subjects).map(Subject::row);
    let table = Table::of_numbers(&["certificate", "client's", "handshake", "service CPU µs [min max]"]);
    writeln!(io::stdout(), "{}", table.with_rows(rows).text())?;
    Ok(())
}

fn serve(limits: &std::path::Path, kind: Kind, mutual: Mutual) -> Serve {
    let [certificate_file, key] = certificate(kind).map(|path| path.display().to_string());
    let serve = Serve::new(limits).args(&["--grpc-tls-cert", &certificate_file, "--grpc-tls-key", &key]);
    let serve = serve.args(&["--runtimes", "1"]);
    match mutual {
        Mutual::No => serve,
        Mutual::Yes => serve.args(&["--grpc-client-ca", &certificate(Kind::P256)[0].display().to_string()]),
    }
}

fn subjects(kind: Kind, mutual: Mutual) -> Result<[Subject; 2], CertificateError> {
    let own = (mutual == Mutual::Yes).then(|| {
        let [certificate, key] = certificate(Kind::P256);
        OwnFiles { certificate, key }
    });
    let mut config = ClientTls { own, verify: Verify::Nothing, ..ClientTls::default() }.config()?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    let mut full = config.clone();
    full.resumption = Resumption::disabled();
    let subject =
        |wanted, config| Subject { kind, mutual, wanted, config: Arc::new(config), costs_us: Vec::new() };
    Ok([subject(HandshakeKind::Full, full), subject(HandshakeKind::Resumed, config)])
}

// === impl Subject ===

impl Subject {
    async fn measure(&mut self, tollgate: &Tollgate, count: u32) -> Result<(), HandshakesError> {
        // The first one of a client that resumes gets the ticket.
        self.handshake(tollgate.grpc()).await?;
        let pid = tollgate.pid().to_string();
        let before = proc::usage(&pid)?.cpu_us;
        for _ in 0..count {
            let found = self.handshake(tollgate.grpc()).await?;
            if found != Some(self.wanted) {
                return Err(HandshakesError::Kind { found, wanted: self.wanted });
            }
        }
        self.costs_us.push((proc::usage(&pid)?.cpu_us - before) / f64::from(count));
        Ok(())
    }

    async fn handshake(&self, addr: SocketAddr) -> io::Result<Option<HandshakeKind>> {
        let stream = TcpStream::connect(addr).await?;
        stream.set_nodelay(true)?;
        let connector = TlsConnector::from(Arc::clone(&self.config));
        let mut stream = connector.connect(ServerName::from(addr.ip()), stream).await?;
        let mut first = [0; 9];
        stream.read_exact(&mut first).await?;
        Ok(stream.get_ref().1.handshake_kind())
    }

    fn row(&self) -> Vec<String> {
        let cost = Spread::from_values(self.costs_us.iter().copied());
        let kind = match self.kind {
            Kind::P256 => "P-256",
            Kind::Rsa2048 => "RSA-2048",
        };
        let shown = cost.map(|it| format!("{:.0} [{:.0} {:.0}]", it.median, it.min, it.max));
        vec![
            kind.to_owned(),
            if self.mutual == Mutual::Yes { "P-256" } else { "none" }.to_owned(),
            format!("{:?}", self.wanted).to_lowercase(),
            shown.unwrap_or_default(),
        ]
    }
}
