import json,sys,mlcroissant as mlc
m=mlc.Metadata(name="sums",url="https://example.com/sums",version="1.0.0",license=["https://creativecommons.org/licenses/by/4.0/"],description="Sums.",
 distribution=[mlc.FileObject(id="test.jsonl",name="test.jsonl",content_url="https://example.com/sums/test.jsonl",encoding_formats=["application/jsonlines"],sha256="9d9c1d1ad8b3a3b4b0bf9e9a6a3c3d1f0d8b6f9d6d1c6c7e0a1b2c3d4e5f6071")],
 record_sets=[mlc.RecordSet(id="sums",name="sums",fields=[mlc.Field(id="sums/question",name="question",data_types=mlc.DataType.TEXT,source=mlc.Source(file_object="test.jsonl",extract=mlc.Extract(column="question")))])])
json.dump(m.to_json(),open(sys.argv[1],"w"),indent=2,default=str)
