//! The HTTP interface. It reads a request, takes the data from the world, formats them as AWS does, and applies a fault if a
//! rule asks for one.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    pin::Pin,
    sync::{
        Arc, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::{
    Response, body::Incoming, header::HeaderValue, http::request::Parts, server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::sleep,
};
use tokio_rustls::TlsAcceptor;

use crate::{
    clock::{self, http_date, iso},
    control,
    error::{AwsError, status_of},
    fault::{Fault, Place, Seen},
    log::{InFlight, Request, request_id},
    operation::{Operation, Route},
    paging::{self, Page},
    permission,
    reply::{Reply, Step, Steps},
    server::State,
    sigv4::{self, Caller},
    world::{Application, Life, Segment},
};

/// The account of a key that sets none.
const ACCOUNT_ID: &str = "123456789012";

/// Accepts connections until the task is aborted, which ends the connections too.
pub(crate) async fn accept(listener: TcpListener, state: Arc<State>, tls: Option<Arc<ServerConfig>>) {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok((socket, _)) = listener.accept().await else { continue };
        state.log.connections.fetch_add(1, Ordering::SeqCst);
        let (state, tls) = (Arc::clone(&state), tls.clone());
        connections.spawn(async move {
            let reset = Arc::new(AtomicBool::new(false));
            let _ = socket.set_nodelay(true);
            let socket = Socket { socket, reset: Arc::clone(&reset) };
            match tls {
                None => serve(socket, state, reset).await,
                Some(tls) => {
                    // Some tests are about clients that refuse the certificate, so a failed handshake is no error.
                    if let Ok(socket) = TlsAcceptor::from(tls).accept(socket).await {
                        serve(socket, state, reset).await;
                    }
                }
            }
        });
    }
}

async fn serve(
    socket: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    state: Arc<State>,
    reset: Arc<AtomicBool>,
) {
    let service = service_fn(|request| answer(request, Arc::clone(&state), Arc::clone(&reset)));
    // This returns an error when a fault breaks the connection or when the client disconnects.
    let _ =
        http1::Builder::new().auto_date_header(false).serve_connection(TokioIo::new(socket), service).await;
}

/// A socket that closes with a reset if `reset` is set.
struct Socket {
    socket: TcpStream,
    reset: Arc<AtomicBool>,
}

impl Drop for Socket {
    fn drop(&mut self) {
        if self.reset.load(Ordering::SeqCst) {
            let _ = self.socket.set_zero_linger();
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.reset.load(Ordering::SeqCst) {
            // A shutdown would close the connection in order before the reset.
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

async fn answer(
    request: hyper::Request<Incoming>,
    state: Arc<State>,
    reset: Arc<AtomicBool>,
) -> io::Result<Response<Steps>> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    if let Some(reply) = control::answer(&state, &parts, &body) {
        return response(&reply, reset, None);
    }
    let route = Route::of(parts.uri.path());
    let seen = Seen {
        operation: route.as_ref().and_then(|route| route.operation(&parts.method)),
        application: route.as_ref().and_then(|route| route.application.as_deref()),
        segment: route.as_ref().and_then(|route| route.segment.as_deref()),
        page: page_number(&parts),
    };
    let fault = state.faults.take(&seen);
    let (number, in_flight) = state.log.note(Request {
        at: clock::machine(),
        operation: seen.operation,
        method: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        application: seen.application.map(str::to_owned),
        segment: seen.segment.map(str::to_owned),
        page: seen.page,
        token: paging::query(parts.uri.query().unwrap_or_default()).remove("token"),
        headers: parts
            .headers
            .iter()
            .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
            .collect(),
        request_id: String::new(),
        shown_at: None,
        status: None,
        error: None,
        fault: fault.as_ref().map(Fault::name),
    });
    let right = || {
        let request_id = request_id(number);
        let now = instant(&parts).unwrap_or_else(|| state.clock.now());
        state.log.amend(number, |request| request.shown_at = Some(now));
        let reply = reply(&state, &parts, &body, route.as_ref(), now)
            .unwrap_or_else(|error| aws_error(&error, &request_id));
        reply
            .with_header("x-amzn-requestid", request_id)
            .with_header("date", http_date(state.server_clock.now()))
    };
    let reply = match &fault {
        None => right(),
        Some(fault) => match before(fault).await {
            Some(Before::Reset) => {
                reset.store(true, Ordering::SeqCst);
                return Err(io::Error::other("a reset that was asked for"));
            }
            Some(Before::Never) => std::future::pending().await,
            None => faulty(fault, right(), number, &state),
        },
    };
    state.log.amend(number, |request| {
        request.status = Some(reply.status);
        request.error.clone_from(&reply.error);
    });
    if state.verbose {
        control::print(&format!("{} {} {}", parts.method, parts.uri, reply.status));
    }
    response(&reply, reset, Some(in_flight))
}

/// The number of the page that a query's token leads to.
fn page_number(parts: &Parts) -> Option<usize> {
    let page = paging::page(&paging::query(parts.uri.query().unwrap_or_default())).ok()?;
    Some(page.from / page.size + 1)
}

/// The instant in a query's token.
fn instant(parts: &Parts) -> Option<i64> {
    paging::page(&paging::query(parts.uri.query().unwrap_or_default())).ok()?.instant
}

/// AWS's response for the jobs as they are at `now`.
fn reply(
    state: &State,
    parts: &Parts,
    body: &[u8],
    route: Option<&Route>,
    now: i64,
) -> Result<Reply, AwsError> {
    let Some(route) = route else {
        return Err(AwsError::new("UnknownOperationException", "The requested operation is not supported."));
    };
    let Some(operation) = route.operation(&parts.method) else {
        return Err(AwsError::new(
            "MethodNotAllowedException",
            "The method is not allowed for this resource.",
        ));
    };
    let keys = state.keys.lock().unwrap_or_else(PoisonError::into_inner).clone();
    if !keys.is_empty() {
        let Caller { key, region } =
            sigv4::verify(parts, body, &keys, &state.regions, state.server_clock.now())?;
        if let Some(policies) = &key.policies {
            let account_id = key.account_id.as_deref().unwrap_or(ACCOUNT_ID);
            permission::authorize(policies, account_id, &region, operation, route)?;
        }
    }
    let pinned = state.pinned_pages.then_some(now);
    let missing = || AwsError::new("NotFoundException", "Resource not found");
    let application = route.application.as_deref().unwrap_or_default();
    let segment = route.segment.as_deref().unwrap_or_default();
    let query = paging::query(parts.uri.query().unwrap_or_default());
    let mut world = state.world();
    if operation == Operation::GetApps {
        return paged(&query, pinned, world.applications.iter(), |(id, it)| application_item(id, it));
    }
    let known = world.applications.get(application).ok_or_else(missing)?;
    match operation {
        Operation::GetApps | Operation::GetApp => Ok(Reply::json(200, &application_item(application, known))),
        Operation::GetSegments => {
            paged(&query, pinned, known.segments.iter(), |(id, it)| segment_item(application, id, it))
        }
        Operation::GetSegment => {
            let it = known.segments.get(segment).ok_or_else(missing)?;
            Ok(Reply::json(200, &segment_item(application, segment, it)))
        }
        Operation::GetSegmentExportJobs => {
            let jobs = world.segment_jobs(application, segment, now).ok_or_else(missing)?;
            paged(&query, pinned, jobs, |job| job.item(now))
        }
        Operation::GetExportJobs => {
            let jobs = world.application_jobs(application, now).ok_or_else(missing)?;
            paged(&query, pinned, jobs, |job| job.item(now))
        }
        Operation::GetExportJob => {
            let mut jobs = world.application_jobs(application, now).ok_or_else(missing)?;
            let id = route.job.as_deref().unwrap_or_default();
            let job = jobs.find(|job| job.has_id(id)).ok_or_else(missing)?;
            Ok(Reply::json(200, &job.item(now)))
        }
        Operation::CreateExportJob => {
            let request: Value = serde_json::from_slice(body).map_err(|error| {
                AwsError::new("BadRequestException", format!("The body is not valid JSON: {error}"))
            })?;
            let text = |name: &str| request[name].as_str().map(str::to_owned);
            let required = |name: &'static str| {
                text(name).ok_or_else(|| AwsError::new("BadRequestException", format!("{name} is missing.")))
            };
            let number = world.application_jobs(application, now).map_or(0, Iterator::count);
            let mut life = Life::new(format!("{number:032x}"), now, 300_000);
            life.role_arn = required("RoleArn")?;
            life.s3_url_prefix = required("S3UrlPrefix")?;
            life.segment_version = request["SegmentVersion"].as_i64().unwrap_or(1);
            let id = life.id.clone();
            match text("SegmentId") {
                Some(segment) if known.segments.contains_key(&segment) => {
                    world.segment(application, &segment).jobs.push(life.into());
                }
                Some(_) => return Err(missing()),
                None => {
                    if let Some(application) = world.applications.get_mut(application) {
                        application.jobs.push(life.into());
                    }
                }
            }
            let created = world
                .application_jobs(application, now)
                .and_then(|mut jobs| jobs.find(|job| job.has_id(&id)))
                .ok_or_else(missing)?;
            Ok(Reply::json(202, &created.item(now)))
        }
    }
}

fn application_item(id: &str, application: &Application) -> Value {
    let name = if application.name.is_empty() { id } else { &application.name };
    let arn = format!("arn:aws:mobiletargeting:us-east-1:{ACCOUNT_ID}:apps/{id}");
    json!({"Arn": arn, "CreationDate": iso(0), "Id": id, "Name": name, "tags": application.tags})
}

fn segment_item(application: &str, id: &str, segment: &Segment) -> Value {
    let mut item = json!({
        "ApplicationId": application,
        "Arn": format!("arn:aws:mobiletargeting:us-east-1:{ACCOUNT_ID}:apps/{application}/segments/{id}"),
        "CreationDate": iso(0),
        "Id": id,
        "LastModifiedDate": iso(0),
        "SegmentType": if segment.imported { "IMPORT" } else { "DIMENSIONAL" },
        "tags": segment.tags,
        "Version": 1,
    });
    if !segment.name.is_empty() {
        item["Name"] = json!(segment.name);
    }
    item
}

/// A page of a listing. Only the items of the page are serialized.
fn paged<T>(
    query: &HashMap<String, String>,
    pinned: Option<i64>,
    listed: impl Iterator<Item = T>,
    item: impl FnMut(T) -> Value,
) -> Result<Reply, AwsError> {
    let Page { from, size, .. } = paging::page(query)?;
    let mut rest = listed.skip(from);
    let page: Vec<Value> = rest.by_ref().take(size).map(item).collect();
    let mut body = json!({"Item": page});
    if rest.next().is_some() {
        body["NextToken"] = json!(paging::token(from.saturating_add(size), pinned));
    }
    Ok(Reply::json(200, &body))
}

fn aws_error(error: &AwsError, request_id: &str) -> Reply {
    let body = json!({"Message": error.message, "RequestID": request_id});
    let mut reply = Reply::json(error.status, &body).with_header("x-amzn-errortype", error.name);
    reply.error = Some(error.name.to_owned());
    reply
}

/// What a fault does before there is a response.
enum Before {
    Reset,
    Never,
}

async fn before(fault: &Fault) -> Option<Before> {
    match fault {
        Fault::Delay { milliseconds } => {
            sleep(Duration::from_millis(*milliseconds)).await;
            None
        }
        Fault::Hang => Some(Before::Never),
        Fault::Reset => Some(Before::Reset),
        _ => None,
    }
}

/// The correct response, changed or replaced as the fault requires.
fn faulty(fault: &Fault, right: Reply, number: usize, state: &State) -> Reply {
    let ok = |content_type, body: &'static str| Reply::new(200, content_type, body);
    let dated = |reply: Reply| {
        let has_date = reply.headers.iter().any(|(name, _)| name == "date");
        let reply = reply.with_header("x-amzn-requestid", request_id(number));
        if has_date { reply } else { reply.with_header("date", http_date(state.server_clock.now())) }
    };
    let altered = |change: &dyn Fn(&mut Value)| {
        let mut body: Value = serde_json::from_slice(&right.bytes()).unwrap_or_default();
        change(&mut body);
        right.clone().with_body(body.to_string())
    };
    match fault {
        Fault::Error { name, status, place, message, headers } => {
            let bare = name.split(':').next().unwrap_or_default();
            let bare = bare.rsplit('#').next().unwrap_or_default();
            let message = message.clone().unwrap_or_else(|| "A fault that was asked for.".to_owned());
            let mut body = json!({"Message": message});
            let mut reply = Reply::json(status.unwrap_or_else(|| status_of(bare)), &Value::Null);
            match place {
                _ if name.is_empty() => {}
                Place::Header => reply = reply.with_header("x-amzn-errortype", name.as_str()),
                Place::Type => body["__type"] = json!(name),
                Place::Code => body["code"] = json!(name),
            }
            reply = reply.with_body(body.to_string());
            for (name, value) in headers {
                reply = reply.with_header(&name.to_lowercase(), value.as_str());
            }
            reply.error = Some(bare.to_owned());
            dated(reply)
        }
        Fault::Answer { status, headers, body } => dated(any_answer(*status, headers, body.clone())),
        Fault::AnswerBytes { status, headers, body } => dated(any_answer(*status, headers, body.clone())),
        Fault::Delay { .. } | Fault::Hang | Fault::Reset => right,
        Fault::HangInBody => right.broken(Step::Hang),
        Fault::ResetInBody => right.broken(Step::End { reset: true }),
        Fault::Truncated => right.broken(Step::End { reset: false }),
        Fault::Oversized { mebibytes, gzip } => {
            let chunk = Bytes::from(vec![b' '; 1024 * 1024]);
            let mut reply = right;
            reply.steps = std::iter::once(Step::Send(Bytes::from_static(b"{\"Item\":[")))
                .chain(std::iter::repeat_n(Step::Send(chunk), *mebibytes))
                .chain([Step::Send(Bytes::from_static(b"]}"))])
                .collect();
            if *gzip { reply.gzipped() } else { reply }
        }
        Fault::Padded { element, times, gzip } => {
            let reply = padded(right, element, *times);
            if *gzip { reply.gzipped() } else { reply }
        }
        Fault::Html => dated(ok("text/html", "<!DOCTYPE html><html><body>It works!</body></html>")),
        Fault::Wrapped => altered(&|body| *body = json!({"ExportJobsResponse": body.clone()})),
        Fault::Empty => right.with_body(Bytes::new()),
        Fault::NoItem => right.with_body("{}"),
        Fault::RepeatedToken => altered(&|body| body["NextToken"] = json!(paging::token(0, None))),
        Fault::EndlessTokens => altered(&|body| body["NextToken"] = json!(paging::token(number + 1, None))),
        Fault::Date { offset } => right.with_header("date", http_date(state.server_clock.now() + offset)),
        Fault::NoDate => {
            let mut reply = right;
            reply.headers.retain(|(name, _)| name != "date");
            reply
        }
        Fault::Age { seconds } => right.with_header("age", seconds.to_string()),
        Fault::Gzip => right.gzipped(),
        Fault::CorruptGzip => {
            let reply = right.gzipped();
            let mut bytes = reply.bytes();
            let middle = bytes.len() / 2;
            bytes.iter_mut().skip(middle).take(8).for_each(|byte| *byte ^= 0xff);
            reply.with_body(bytes)
        }
        Fault::Chunked => Reply { sized: false, ..right },
        Fault::Drip { bytes, milliseconds } => {
            let body = Bytes::from(right.bytes());
            let pause = Step::Pause(Duration::from_millis(*milliseconds));
            let pieces = body.chunks((*bytes).max(1)).map(|piece| Step::Send(body.slice_ref(piece)));
            Reply { steps: pieces.flat_map(|piece| [piece, pause.clone()]).collect(), ..right }
        }
        Fault::Redirect { location } => {
            dated(Reply::new(302, "text/plain", "moved")).with_header("location", location.as_str())
        }
    }
}

/// Adds copies of an element before the items of a listing. Other responses stay as they are. The copies share their memory.
fn padded(right: Reply, element: &str, times: usize) -> Reply {
    const ITEMS: &[u8] = b"\"Item\":[";
    let body = Bytes::from(right.bytes());
    let begin = body.windows(ITEMS.len()).position(|part| part == ITEMS);
    let (Some(begin), Some(others)) = (begin, times.checked_sub(1)) else { return right };
    let (head, items) = (body.slice(..begin + ITEMS.len()), body.slice(begin + ITEMS.len()..));
    let copy = format!("{element},");
    let in_one = (1024 * 1024 / copy.len()).max(1);
    let many = Bytes::from(copy.repeat(in_one));
    let few = Bytes::from(copy.repeat(others % in_one));
    let copies = std::iter::repeat_n(many, others / in_one).chain([few]);
    // A comma before the end of a list would not be valid.
    let last = if items.starts_with(b"]") { element.to_owned() } else { copy };
    let steps = std::iter::once(head).chain(copies).chain([Bytes::from(last), items]);
    Reply { steps: steps.map(Step::Send).collect(), ..right }
}

fn any_answer(status: u16, headers: &BTreeMap<String, String>, body: impl Into<Bytes>) -> Reply {
    headers.iter().fold(Reply::new(status, "application/json", body), |reply, (name, value)| {
        reply.with_header(&name.to_lowercase(), value.as_str())
    })
}

fn response(
    reply: &Reply,
    reset: Arc<AtomicBool>,
    in_flight: Option<InFlight>,
) -> io::Result<Response<Steps>> {
    let mut response = Response::new(Steps::new(reply, reset, in_flight));
    *response.status_mut() = reply.status.try_into().map_err(io::Error::other)?;
    for (name, value) in &reply.headers {
        let name: hyper::header::HeaderName = name.parse().map_err(io::Error::other)?;
        response.headers_mut().insert(name, HeaderValue::from_str(value).map_err(io::Error::other)?);
    }
    Ok(response)
}
