//! The operations of the API and their paths.

use hyper::Method;
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};

/// An operation that the fake knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Operation {
    GetApps,
    GetApp,
    GetSegments,
    GetSegment,
    GetSegmentExportJobs,
    GetExportJobs,
    GetExportJob,
    CreateExportJob,
}

/// A path of the API: the resources it names, and the operations of its methods.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) application: Option<String>,
    pub(crate) segment: Option<String>,
    pub(crate) job: Option<String>,
    get: Option<Operation>,
    post: Option<Operation>,
}

impl Route {
    /// Parses a path as received. Its parts are decoded one by one, so an id may contain slashes.
    pub(crate) fn of(path: &str) -> Option<Self> {
        let segments: Vec<&str> = path.strip_prefix('/')?.split('/').collect();
        let id = |text: &str| percent_decode_str(text).decode_utf8().ok().map(std::borrow::Cow::into_owned);
        let (ids, get, post) = match segments[..] {
            ["v1", "apps"] => ([None, None, None], Operation::GetApps, None),
            ["v1", "apps", app] => ([Some(app), None, None], Operation::GetApp, None),
            ["v1", "apps", app, "segments"] => ([Some(app), None, None], Operation::GetSegments, None),
            ["v1", "apps", app, "segments", segment] => {
                ([Some(app), Some(segment), None], Operation::GetSegment, None)
            }
            ["v1", "apps", app, "segments", segment, "jobs", "export"] => {
                ([Some(app), Some(segment), None], Operation::GetSegmentExportJobs, None)
            }
            ["v1", "apps", app, "jobs", "export"] => {
                ([Some(app), None, None], Operation::GetExportJobs, Some(Operation::CreateExportJob))
            }
            ["v1", "apps", app, "jobs", "export", job] => {
                ([Some(app), None, Some(job)], Operation::GetExportJob, None)
            }
            _ => return None,
        };
        let [application, segment, job] = ids.map(|text| text.map(id));
        Some(Self {
            application: application.map_or(Some(None), |id| id.map(Some))?,
            segment: segment.map_or(Some(None), |id| id.map(Some))?,
            job: job.map_or(Some(None), |id| id.map(Some))?,
            get: Some(get),
            post,
        })
    }

    /// The operation of a method on this path.
    pub(crate) fn operation(&self, method: &Method) -> Option<Operation> {
        match *method {
            Method::GET => self.get,
            Method::POST => self.post,
            _ => None,
        }
    }
}
