//! The region of the AWS profile, from AWS's own files as `aws-config` finds them. Nothing is asked over the network.

use std::ffi::OsString;

use aws_config::{meta::region::ProvideRegion, profile::ProfileFileRegionProvider};

use crate::config::names_region;

/// The profile's region; `None` also when one of the `variables` names a region, which then counts.
pub async fn region(variables: &[(OsString, OsString)]) -> Option<String> {
    if names_region(variables) {
        return None;
    }
    let region = ProfileFileRegionProvider::new().region().await?;
    Some(region.to_string())
}
