//! A faithful stand-in for Amazon Pinpoint.
