"""A bench over the tiny bundle: sweeps that leave everything and hardly anything in."""

from loadtest.rivals.sweep import Sweep

ADS, USERS = 300, 12
EVERYTHING = Sweep(beam_shares=(1000.0,), ms=(16,), efs=(ADS,), kept_shares=(1.0,), probe_shares=(1.0,),
                   candidates=(ADS,), walk_efs=(ADS,), walk_shares=(1.0, 0.1), distilled=(ADS,),
                   distilled_shares=(1.0,))
LITTLE = Sweep(beam_shares=(0.5,), ms=(4,), efs=(10,), kept_shares=(1.0,), probe_shares=(0.1,), candidates=(20,),
               walk_efs=(5,), walk_shares=(1.0,), distilled=(20,), distilled_shares=(0.1,))
