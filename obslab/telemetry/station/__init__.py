"""What runs at the station: every sample is on its disk before it is sent, and stays until it is confirmed.

recording -> replay, simulate, drivers -> journal, day files -> ledger -> publisher -> run
"""
