#!/usr/bin/env bash
# moto 5.2.5, a stand-in for S3 in tests, by boto3 1.44.8:
#
# * an upload that was completed with `If-None-Match: *` is completed again with success, although the object is there, while
#   another upload is refused: who repeats a completion whose answer was lost cannot tell what the first one did;
# * a listing with max-keys 1001 returns 1,001 objects, where S3 documents at most 1,000.
#
# A put with `If-None-Match: *` is refused as it should be.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet 'moto[s3]==5.2.5' boto3==1.44.8
"$folder/venv/bin/python" - <<'PYTHON'
import boto3
import botocore.exceptions
from moto import mock_aws

with mock_aws():
    s3 = boto3.client("s3", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
    s3.create_bucket(Bucket="bucket")

    upload = s3.create_multipart_upload(Bucket="bucket", Key="blob")["UploadId"]
    part = s3.upload_part(Bucket="bucket", Key="blob", UploadId=upload, PartNumber=1, Body=b"contents")
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    answers = []
    for _ in range(2):
        answer = s3.complete_multipart_upload(
            Bucket="bucket", Key="blob", UploadId=upload, MultipartUpload=parts, IfNoneMatch="*"
        )
        answers.append(answer["ResponseMetadata"]["HTTPStatusCode"])
    print("the same conditional completion, twice:", answers)
    assert answers == [200, 200], answers

    other = s3.create_multipart_upload(Bucket="bucket", Key="blob")["UploadId"]
    part = s3.upload_part(Bucket="bucket", Key="blob", UploadId=other, PartNumber=1, Body=b"contents")
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    try:
        s3.complete_multipart_upload(
            Bucket="bucket", Key="blob", UploadId=other, MultipartUpload=parts, IfNoneMatch="*"
        )
        refused = None
    except botocore.exceptions.ClientError as error:
        refused = error.response["Error"]["Code"]
    print("that of another upload:", refused)
    assert refused == "PreconditionFailed", refused

    try:
        s3.put_object(Bucket="bucket", Key="blob", Body=b"contents", IfNoneMatch="*")
        refused = None
    except botocore.exceptions.ClientError as error:
        refused = error.response["Error"]["Code"]
    print("a conditional put over it:", refused)
    assert refused == "PreconditionFailed", refused

    for number in range(1000):
        s3.put_object(Bucket="bucket", Key=f"{number:04}", Body=b"")
    listing = s3.list_objects_v2(Bucket="bucket", MaxKeys=1001)
    print("a listing with max-keys 1001:", listing["KeyCount"], "objects, truncated:", listing["IsTruncated"])
    assert (listing["KeyCount"], listing["IsTruncated"]) == (1001, False), listing["KeyCount"]
PYTHON
