//! A client of HTTP/1.1 that costs next to nothing: one connection, one request at a time.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// Longest wait for an answer: beyond it a bench is not slow but stuck.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

/// A connection that is kept open between requests.
pub struct Connection {
    address: SocketAddr,
    stream: BufReader<TcpStream>,
}

/// An answer.
pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
}

impl Connection {
    pub fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_WITHIN))?;
        Ok(Self { address, stream: BufReader::new(stream) })
    }

    /// Sends a request and reads its answer, whose length must be given in its head.
    pub fn send(&mut self, method: &str, path: &str, content_type: &str, body: &[u8]) -> Result<Answer> {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\n\r\n",
            self.address,
            body.len()
        );
        let stream = self.stream.get_mut();
        stream.write_all(head.as_bytes())?;
        stream.write_all(body)?;

        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        let status = line.split(' ').nth(1).context("no status line")?.parse()?;
        let mut length = None;
        loop {
            line.clear();
            if self.stream.read_line(&mut line)? == 0 {
                bail!("the answer's head is cut");
            }
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            if name.eq_ignore_ascii_case("content-length") {
                length = Some(value.trim().parse::<usize>()?);
            }
        }
        let mut body = vec![0; length.context("an answer without content-length")?];
        self.stream.read_exact(&mut body)?;
        Ok(Answer { status, body })
    }

    /// As [`Connection::send`] without a body; fails unless the answer is 2xx.
    pub fn get(&mut self, path: &str) -> Result<Vec<u8>> {
        let answer = self.send("GET", path, "text/plain", &[])?;
        answer.expect_success(path)
    }
}

impl Answer {
    /// The body of a 2xx answer.
    pub fn expect_success(self, what: &str) -> Result<Vec<u8>> {
        if !(200..300).contains(&self.status) {
            bail!("{what}: {} {}", self.status, String::from_utf8_lossy(&self.body));
        }
        Ok(self.body)
    }
}
