"""S3's buckets and objects, path-style, as its REST API describes them."""

import time
from xml.sax.saxutils import escape

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from nexusflow.embedded.vendors.calls import CallLog
from nexusflow.embedded.vendors.objects import ObjectStore, StoredObject

NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
META = "x-amz-meta-"
METHODS = ["GET", "HEAD", "PUT", "DELETE"]


class LocalS3:
    """An object store."""

    def __init__(self, calls: CallLog, store: ObjectStore) -> None:
        self._calls = calls
        self._store = store

    def routes(self) -> list[Route]:
        """The paths under ``/s3``."""
        return [
            Route("/", self._service, methods=["GET"]),
            Route("/{bucket}", self._bucket, methods=METHODS),
            Route("/{bucket}/", self._bucket, methods=METHODS),
            Route("/{bucket}/{key:path}", self._object, methods=METHODS),
        ]

    async def _service(self, request: Request) -> Response:
        buckets = "".join(f"<Bucket><Name>{escape(name)}</Name></Bucket>" for name in self._store.buckets())
        return _xml("ListAllMyBucketsResult", f"<Buckets>{buckets}</Buckets>")

    async def _bucket(self, request: Request) -> Response:
        bucket = request.path_params["bucket"]
        if request.method == "PUT":
            if not self._store.make_bucket(bucket):
                return _error(400, "InvalidBucketName", "The specified bucket is not valid.")
            self._calls.add("s3", "create_bucket", bucket=bucket)
            return Response(status_code=200, headers={"location": f"/{bucket}"})
        if not self._store.has_bucket(bucket):
            return _error(404, "NoSuchBucket", "The specified bucket does not exist")
        if request.method != "GET":
            return Response(status_code=200 if request.method == "HEAD" else 204)
        if "location" in request.query_params:
            return _xml("LocationConstraint", "")
        return _listing(bucket, request, self._store)

    async def _object(self, request: Request) -> Response:
        bucket, key = request.path_params["bucket"], request.path_params["key"]
        # Read before the first answer: what a client still sends would be taken for its next request.
        content = await request.body()
        if not self._store.has_bucket(bucket):
            return _error(404, "NoSuchBucket", "The specified bucket does not exist")
        if request.method == "PUT":
            return self._put(request, bucket, key, content)
        if request.method == "DELETE":
            self._store.delete(bucket, key)
            self._calls.add("s3", "delete_object", bucket=bucket, key=key)
            return Response(status_code=204)
        kept = self._store.get(bucket, key)
        if kept is None:
            return _error(404, "NoSuchKey", "The specified key does not exist.")
        headers = {
            "etag": f'"{kept.etag}"',
            "last-modified": kept.last_modified,
            "content-type": kept.content_type,
            **{META + name: value for name, value in kept.metadata.items()},
        }
        if request.method == "HEAD":
            return Response(headers={**headers, "content-length": str(kept.size)})
        return Response(self._store.read(bucket, kept), headers=headers)

    def _put(self, request: Request, bucket: str, key: str, content: bytes) -> Response:
        if request.headers.get("x-amz-content-sha256", "").startswith("STREAMING-"):
            content = _unchunk(content)
        metadata = {name[len(META) :]: value for name, value in request.headers.items() if name.startswith(META)}
        kept = self._store.put(bucket, key, content, request.headers.get("content-type", ""), metadata, time.time())
        self._calls.add(
            "s3",
            "put_object",
            idempotency_key=metadata.get("idempotency-key", ""),
            bucket=bucket,
            key=key,
            size=kept.size,
            etag=kept.etag,
        )
        return Response(headers={"etag": f'"{kept.etag}"'})


def _listing(bucket: str, request: Request, store: ObjectStore) -> Response:
    prefix = request.query_params.get("prefix", "")
    found = store.list(bucket, prefix)
    contents = "".join(_entry(one) for one in found)
    return _xml(
        "ListBucketResult",
        f"<Name>{escape(bucket)}</Name><Prefix>{escape(prefix)}</Prefix><KeyCount>{len(found)}</KeyCount>"
        f"<MaxKeys>1000</MaxKeys><IsTruncated>false</IsTruncated>{contents}",
    )


def _entry(kept: StoredObject) -> str:
    modified = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(kept.modified))
    return (
        f"<Contents><Key>{escape(kept.key)}</Key><LastModified>{modified}</LastModified>"
        f"<ETag>&quot;{kept.etag}&quot;</ETag><Size>{kept.size}</Size><StorageClass>STANDARD</StorageClass></Contents>"
    )


def _unchunk(content: bytes) -> bytes:
    """The payload of an ``aws-chunked`` body: ``<hex length>[;signature]CRLF<bytes>CRLF`` until a length of zero."""
    parts: list[bytes] = []
    at = 0
    while (end := content.find(b"\r\n", at)) >= 0:
        length = int(content[at:end].split(b";")[0] or b"0", 16)
        if length == 0:
            break
        parts.append(content[end + 2 : end + 2 + length])
        at = end + 2 + length + 2
    return b"".join(parts)


def _xml(name: str, inner: str) -> Response:
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n<{name} xmlns="{NAMESPACE}">{inner}</{name}>'
    return Response(body, media_type="application/xml")


def _error(status: int, code: str, message: str) -> Response:
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{message}</Message></Error>'
    return Response(body, status, media_type="application/xml")
