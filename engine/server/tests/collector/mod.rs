//! A collector of OpenTelemetry: as much of OTLP over HTTP as it takes to read spans.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// What was sent, body by body.
type Received = Arc<Mutex<Vec<Vec<u8>>>>;

/// A collector that is told of spans.
pub(crate) struct Collector {
    pub(crate) url: String,
    received: Received,
}

/// A span that was told of.
#[derive(Debug, Default)]
pub(crate) struct Span {
    pub(crate) trace: String,
    pub(crate) id: String,
    pub(crate) parent: String,
    pub(crate) name: String,
    pub(crate) kind: u64,
    pub(crate) is_error: bool,
    attributes: BTreeMap<String, String>,
}

impl Span {
    pub(crate) fn attribute(&self, name: &str) -> &str {
        self.attributes.get(name).map_or("", String::as_str)
    }
}

impl Collector {
    pub(crate) fn start() -> Self {
        Self::listen("http", serve)
    }

    /// Starts with TLS; yields its certificate too, in PEM.
    pub(crate) fn start_private() -> (Self, String) {
        let pair = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let key = PrivatePkcs8KeyDer::from(pair.signing_key.serialize_der()).into();
        ochre::install_tls();
        let config = ServerConfig::builder().with_no_client_auth();
        let config = Arc::new(config.with_single_cert(vec![pair.cert.der().clone()], key).unwrap());
        let collector = Self::listen("https", move |stream, received| {
            let tls = ServerConnection::new(Arc::clone(&config)).unwrap();
            serve(StreamOwned::new(tls, stream), received);
        });
        (collector, pair.cert.pem())
    }

    fn listen(scheme: &str, serve: impl Fn(TcpStream, &Received) + Clone + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("{scheme}://{}", listener.local_addr().unwrap());
        let received = Received::default();
        let kept = Arc::clone(&received);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (serve, kept) = (serve.clone(), Arc::clone(&kept));
                std::thread::spawn(move || serve(stream.unwrap(), &kept));
            }
        });
        Self { url, received }
    }

    /// Tells whether some bytes were sent anywhere.
    pub(crate) fn heard(&self, bytes: &[u8]) -> bool {
        self.received.lock().unwrap().iter().any(|body| body.windows(bytes.len()).any(|part| part == bytes))
    }

    /// Names what sends the spans.
    pub(crate) fn service(&self) -> String {
        let bodies = self.received.lock().unwrap();
        let resource = of(fields(&bodies[0]).next().unwrap().1, 1);
        attributes(resource.into_iter().next().unwrap(), 1).remove("service.name").unwrap()
    }

    pub(crate) fn spans(&self) -> Vec<Span> {
        let bodies = self.received.lock().unwrap();
        let resources = bodies.iter().flat_map(|body| of(Field::Bytes(body), 1));
        let scopes = resources.flat_map(|resource| of(resource, 2));
        scopes.flat_map(|scope| of(scope, 2)).map(span).collect()
    }
}

/// Hears requests until the client is gone, and answers each with nothing to say.
fn serve(stream: impl Read + Write, received: &Received) {
    let mut reader = BufReader::new(stream);
    loop {
        let (mut line, mut length) = (String::new(), 0);
        reader.read_line(&mut line).unwrap();
        if line.is_empty() {
            return;
        }
        assert!(line.starts_with("POST /v1/traces HTTP/1.1"), "{line}");
        while line != "\r\n" {
            line.clear();
            reader.read_line(&mut line).unwrap();
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        received.lock().unwrap().push(body);
        reader.get_mut().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
    }
}

/// The value of a field of protobuf.
#[derive(Clone, Copy)]
enum Field<'b> {
    Number(u64),
    Bytes(&'b [u8]),
}

impl<'b> Field<'b> {
    fn bytes(self) -> &'b [u8] {
        if let Self::Bytes(bytes) = self { bytes } else { &[] }
    }

    fn text(self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        }
    }
}

/// Reads the fields of a message of protobuf, with their numbers.
fn fields(mut bytes: &[u8]) -> impl Iterator<Item = (u64, Field<'_>)> {
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let key = number(&mut bytes);
        let length = match key & 7 {
            0 => return Some((key >> 3, Field::Number(number(&mut bytes)))),
            1 => 8,
            2 => usize::try_from(number(&mut bytes)).unwrap(),
            _ => 4,
        };
        let (field, rest) = bytes.split_at(length);
        bytes = rest;
        Some((key >> 3, Field::Bytes(field)))
    })
}

/// Takes a number of protobuf, seven bits in each byte.
fn number(bytes: &mut &[u8]) -> u64 {
    let (mut number, mut shift) = (0, 0);
    loop {
        let byte = bytes[0];
        *bytes = &bytes[1..];
        number |= u64::from(byte & 0x7f) << shift;
        shift += 7;
        if byte < 0x80 {
            return number;
        }
    }
}

/// Takes the fields of a number.
fn of(message: Field<'_>, number: u64) -> Vec<Field<'_>> {
    fields(message.bytes()).filter(|(found, _)| *found == number).map(|(_, field)| field).collect()
}

fn attributes(message: Field<'_>, number: u64) -> BTreeMap<String, String> {
    let pairs = of(message, number).into_iter();
    let pair = |pair| {
        let value = fields(of(pair, 2)[0].bytes()).next().map(|(_, value)| value.text());
        (of(pair, 1)[0].text(), value.unwrap_or_default())
    };
    pairs.map(pair).collect()
}

fn span(message: Field<'_>) -> Span {
    let hexadecimal = |field: Field<'_>| -> String {
        let digits = field.bytes().iter().flat_map(|byte| [byte >> 4, byte & 15]);
        digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect()
    };
    let mut span = Span { attributes: attributes(message, 9), ..Span::default() };
    for (number, field) in fields(message.bytes()) {
        match (number, field) {
            (1, _) => span.trace = hexadecimal(field),
            (2, _) => span.id = hexadecimal(field),
            (4, _) => span.parent = hexadecimal(field),
            (5, _) => span.name = field.text(),
            (6, Field::Number(kind)) => span.kind = kind,
            (15, _) => span.is_error = matches!(of(field, 3)[..], [Field::Number(2)]),
            _ => {}
        }
    }
    span
}
