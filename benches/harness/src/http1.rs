//! HTTP/1.1 on loopback, both ends, as bare as hyper allows.

use std::{convert::Infallible, net::SocketAddr, sync::Arc};

use anyhow::Context as _;
use bytes::{Buf, Bytes};
use http::{Request, Response, header};
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::{body::Incoming, client::conn::http1::SendRequest, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

/// A connection to a server.
pub(crate) struct Connection(SendRequest<Empty<Bytes>>);

impl Connection {
    pub(crate) async fn to(address: SocketAddr) -> anyhow::Result<Self> {
        let socket = TcpStream::connect(address).await.context("cannot connect")?;
        socket.set_nodelay(true)?;
        let (send, connection) = hyper::client::conn::http1::handshake(TokioIo::new(socket)).await?;
        tokio::spawn(connection);
        Ok(Self(send))
    }

    /// Whether it takes another request. Some servers close a connection after each response.
    pub(crate) async fn is_open(&mut self) -> bool {
        self.0.ready().await.is_ok()
    }

    /// The whole response to a `GET`, as it was sent.
    pub(crate) async fn get(&mut self, path: &str, encoding: &str) -> anyhow::Result<Response<Bytes>> {
        let (head, body) = self.send(path, encoding).await?.into_parts();
        Ok(Response::from_parts(head, body.collect().await?.to_bytes()))
    }

    /// Reads the response to a `GET` and keeps nothing of it but its size.
    pub(crate) async fn read(&mut self, path: &str, encoding: &str) -> anyhow::Result<Response<usize>> {
        let (head, mut body) = self.send(path, encoding).await?.into_parts();
        let mut length = 0;
        while let Some(frame) = body.frame().await {
            length += frame?.data_ref().map_or(0, Bytes::len);
        }
        Ok(Response::from_parts(head, length))
    }

    async fn send(&mut self, path: &str, encoding: &str) -> anyhow::Result<Response<Incoming>> {
        self.0.ready().await?;
        let request = Request::get(path)
            .header(header::HOST, "localhost")
            .header(header::ACCEPT_ENCODING, encoding)
            .body(Empty::new())?;
        Ok(self.0.send_request(request).await?)
    }
}

/// Serves at a free port for ever, and says which.
pub(crate) async fn serve<Answer, Content>(
    answer: impl Fn(Request<Incoming>) -> Answer + Send + Sync + 'static,
) -> anyhow::Result<()>
where
    Answer: Future<Output = Response<Full<Content>>> + Send + 'static,
    Content: Buf + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    crate::say(format_args!("{}", listener.local_addr()?));
    let answer = Arc::new(answer);
    loop {
        let (socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        let answer = Arc::clone(&answer);
        let service = service_fn(move |request| {
            let answer = answer(request);
            async { Ok::<_, Infallible>(answer.await) }
        });
        tokio::spawn(
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), service),
        );
    }
}
