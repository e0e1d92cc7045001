import sys,time
sys.path.insert(0,'.')
from tests.uml import runner
t=time.monotonic()
r=runner.run([sys.executable,*sys.argv[1:]],seconds=150)
print(r.status,r.output,r.errors, time.monotonic()-t)
