CREATE TABLE copies (
    relative TEXT PRIMARY KEY,
    path TEXT NOT NULL,
    pnfsid TEXT,
    size INTEGER NOT NULL,
    adler32 INTEGER,
    verified INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    copied_at REAL NOT NULL,
    event_time REAL,
    topic TEXT,
    "partition" INTEGER,
    "offset" INTEGER,
    source_deleted_at REAL
) WITHOUT ROWID;
CREATE INDEX copies_by_pnfsid ON copies (pnfsid);

CREATE TABLE spans (
    topic TEXT NOT NULL,
    "partition" INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    counts TEXT NOT NULL,
    PRIMARY KEY (topic, "partition", epoch, first)
) WITHOUT ROWID;

CREATE TABLE positions (
    topic TEXT NOT NULL,
    "partition" INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    committable INTEGER NOT NULL,
    acknowledged INTEGER NOT NULL,
    honours_from INTEGER NOT NULL,
    PRIMARY KEY (topic, "partition")
) WITHOUT ROWID;

CREATE TABLE outbox (
    event_id TEXT NOT NULL UNIQUE,
    line TEXT NOT NULL
);

CREATE TABLE deletions (
    relative TEXT NOT NULL,
    path TEXT NOT NULL,
    pnfsid TEXT,
    size INTEGER,
    adler32 INTEGER,
    intended_at REAL NOT NULL,
    ended_at REAL,
    result TEXT,
    error TEXT
);
CREATE INDEX deletions_by_pnfsid ON deletions (pnfsid);

CREATE TABLE failures (
    pnfsid TEXT PRIMARY KEY
) WITHOUT ROWID;

CREATE TABLE facts (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

INSERT INTO copies VALUES ('raw/f1','/pnfs/raw/f1','0000A1',10,1,1,1000,5.0,4.0,'billing',0,3,NULL);
INSERT INTO copies VALUES ('raw/f2','/pnfs/raw/f2','0000A2',20,2,1,2000,6.0,4.0,'billing',0,4,NULL);
INSERT INTO spans VALUES ('billing',0,1,0,9,'{"mirrored": 2, "not-ours": 8}');
INSERT INTO positions VALUES ('billing',0,1,10,8,1);
INSERT INTO failures VALUES ('0000F1');
PRAGMA user_version = 1;
