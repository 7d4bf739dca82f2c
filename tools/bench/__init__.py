"""Side by side: qwen-fetch and what people would use instead, on the same repo, the same server, in one run.

    process     run a command and know what it cost
    serving     a Hub in a process of its own: nginx for speed, the embedded Hub for Xet, rates and faults
    recorded    what nginx serves: the embedded Hub's answers, written down
    peers       how each program is called, and where it leaves its files
    scenes      what is tried: lines, faults, kills
    trial       one peer in one scene, measured and checked
    upkeep      scenes without a line: nothing to do, a copy to take over, verify, status
    big         plan, status and scheduling of a repo of 1 TB, without the bytes
    results     medians, table, JSON
    pages       Markdown
    chart       bars as SVG

Needs a POSIX system; peak memory and the server's own cost need Linux's /proc.
"""
