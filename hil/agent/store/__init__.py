"""The store on the target: blobs, uploads, records of builds and the session lock."""
