//! An in-memory Kubernetes API and a Velero that behaves like Velero: to try, to teach, to test.
