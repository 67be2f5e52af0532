"""Reads a Perfetto trace with Perfetto's own schema and prints what is in it as JSON."""

import json
import sys

from perfetto.protos.perfetto.trace import perfetto_trace_pb2 as schema

trace = schema.Trace()
with open(sys.argv[1], "rb") as file:
    trace.ParseFromString(file.read())

CLEARED, NEEDS = 1, 2
BEGIN, END, INSTANT, COUNTER = 1, 2, 3, 4
names, labels, texts = {}, {}, {}
tracks, clocks, events = {}, [], []
for number, packet in enumerate(trace.packet):
    assert packet.trusted_packet_sequence_id == 1, packet
    assert (number == 0) == packet.first_packet_on_sequence, packet
    if packet.sequence_flags & CLEARED:
        names, labels, texts = {}, {}, {}
    for table, entries in (
        (names, packet.interned_data.event_names),
        (labels, packet.interned_data.debug_annotation_names),
    ):
        for entry in entries:
            assert entry.iid not in table, entry
            table[entry.iid] = entry.name
    for entry in packet.interned_data.debug_annotation_string_values:
        assert entry.iid not in texts, entry
        texts[entry.iid] = entry.str.decode()
    if packet.HasField("clock_snapshot"):
        clocks = sorted(clock.clock_id for clock in packet.clock_snapshot.clocks)
    if packet.HasField("track_descriptor"):
        tracks[packet.track_descriptor.uuid] = packet.track_descriptor
    if packet.HasField("track_event"):
        assert packet.sequence_flags & NEEDS, packet
        event = packet.track_event
        assert event.track_uuid in tracks, event
        args = {}
        for note in event.debug_annotations:
            has_text = note.WhichOneof("value") == "string_value_iid"
            args[labels[note.name_iid]] = texts[note.string_value_iid] if has_text else note.uint_value
        name = names[event.name_iid] if event.name_iid else ""
        events.append((packet.timestamp, event, name, args))

# As a reader does: by time, those of one moment in the order of the file.
events.sort(key=lambda event: event[0])
open_slices, slices, losses, findings, counters = {}, [], [], [], {}
sources, arrows = {}, []
for at, event, name, args in events:
    track = tracks[event.track_uuid]
    if event.type == COUNTER:
        assert track.HasField("counter")
        counters[track.name] = counters.get(track.name, 0) + 1
        continue
    for flow in event.flow_ids:
        sources[flow] = (track.name, at)
    for flow in event.terminating_flow_ids:
        came_from, left = sources[flow]
        assert left == at
        arrows.append({"from": came_from, "to": track.name, "at": at})
    if event.type == INSTANT and track.name == "findings":
        findings.append({"name": name, "args": args})
    elif event.type == BEGIN:
        assert event.track_uuid not in open_slices, (track.name, at)
        open_slices[event.track_uuid] = (at, name, args)
    elif event.type == END:
        since, name, args = open_slices.pop(event.track_uuid)
        told = {"track": track.name, "name": name, "since": since, "until": at, "args": args}
        if track.name == "lost records":
            losses.append(told)
        elif "state" in args:
            slices.append(told)
assert not open_slices, open_slices

json.dump(
    {
        "tracks": [
            {"uuid": t.uuid, "name": t.name, "parent": t.parent_uuid, "pid": t.process.pid}
            for t in tracks.values()
        ],
        "slices": slices,
        "losses": losses,
        "findings": findings,
        "counters": counters,
        "flows": arrows,
        "clocks": clocks,
    },
    sys.stdout,
)
