"""What runs at the station: every sample is on its disk before it is sent, and stays until it is confirmed.

drivers -> ports, serial -> acquisition -> instrument   |
recording -> replay, link_model -> simulate             |-> run (with journal, day files)
journal -> ledger, answering -> liaison -> publisher    |

"""
