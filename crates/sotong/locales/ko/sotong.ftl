## 제목과 짧은 말

heading-usage = 사용법:
heading-commands = 명령
heading-arguments = 인자
heading-options = 옵션
heading-common = 공통 옵션
heading-tls = TLS
heading-ws = 웹소켓
heading-limits = 제한값
heading-examples = 예:
heading-man-name = 이름
heading-man-synopsis = 개요
heading-man-description = 설명
usage-options = [옵션]
help-choices = [가능한 값: { $choices }]
help-default = [기본값: { $value }]
error-heading = 오류:
warning-heading = 경고:
time-days = { $count }일
time-hours = { $count }시간
time-minutes = { $count }분
time-seconds = { $count }초
time-milliseconds = { $count }밀리초
try-help = 도움말: { $command } --help

## 명령

about-sotong = Sotong은 소켓 서버를 띄우고, 서버에 접속하고, 연결의 양 끝을 터미널이나 프로그램에 이어 줍니다.
details-sotong =
    주소는 HOST:PORT, tcp://HOST:PORT, udp://HOST:PORT, unix:경로, unix:@이름(추상 소켓)으로 쓰고, TLS는
    tls://HOST:PORT, tls+unix:경로로, 웹소켓은 ws://HOST:PORT/경로로, TLS를 쓰는 웹소켓은 wss://HOST:PORT/경로로 씁니다.
    웹소켓에서는 포트를 생략할 수 있습니다. localhost는 IPv4와 IPv6 모두, *:PORT는 모든 인터페이스, :PORT는 localhost를 뜻하며, 포트 0을 쓰면 빈 포트를 골라 출력합니다.

    서버는 수신 대기하는 주소를 stderr에 알립니다. 스크립트에서는 그 줄에서 tcp://, udp://, unix:, tls://, tls+unix:, ws://, wss://로 시작하는 단어나
    --log-format json의 "listening" 이벤트를 읽으면 됩니다. LISTEN_FDS로 넘겨받은 리스너가 있으면 주소 대신 그것을 씁니다.

    종료 코드: 0 정상, 1 실패 또는 수신 대기 불가, 2 사용법 오류, 65 보낼 수 없는 입력, 69 연결 거부 또는 도달 불가, 75 응답 없음, 76 상대가 중간에
    끊음, 77 인증서 거부, 78 이 시스템이나 이 모델에서 불가능, 130·143 시그널로 종료.
details-units =
    크기(BYTES)는 바이트 수로 쓰거나 B, KiB, MiB, GiB를 붙입니다. 시간(TIME)은 초로 쓰거나 ms, s, m, h, d를 붙입니다.
details-cert =
    인증 기관은 처음 필요할 때 만들어지며 $XDG_DATA_HOME/sotong/authority(없으면 ~/.local/share 아래)에 보관됩니다. 그 키를
    가진 사람은 이 기관을 신뢰하는 모두에게 누구든 행세할 수 있으므로, 키는 그 디렉터리를 떠나지 않고 소유자만 읽을 수 있습니다.
details-cert-new =
    NAME.pem(인증서와 그 뒤에 인증 기관의 인증서)과 NAME-key.pem(키, 소유자만 읽기)을 씁니다. NAME은 첫 이름이고 별표는
    _wildcard로 바뀝니다. 두 파일의 이름을 출력합니다. ASCII가 아닌 이름은 A-label로 바뀝니다.
details-cert-check =
    종료 코드: 0 문제 없음, 77 거절될 만한 문제가 있음, 78 쓸 수 없는 파일이나 맞지 않는 키. 체인은 자체 서명한 인증서로
    끝나거나, 그 발급자를 이 시스템이나 로컬 인증 기관이 알고 있으면 온전합니다.
about-echo = 받은 데이터를 그대로 돌려보냅니다 (RFC 862)
about-discard = 받은 데이터를 모두 버리고 아무 응답도 하지 않습니다 (RFC 863)
about-chargen = 문자로 된 줄을 끝없이 보냅니다 (RFC 864)
about-daytime = 날짜와 시각을 텍스트로 알려 줍니다 (RFC 867)
about-time = 1900년부터 센 초를 4바이트로 알려 줍니다 (RFC 868)
about-room = nc로 쓰는 줄 단위 채팅방을 엽니다. 모두가 같은 순서로 모든 줄을 봅니다
about-chat = 대화 서버를 엽니다. IRC, 웹소켓, nc 사용자가 한 포트, 같은 방에서 만납니다
details-chat =
    연결의 첫 바이트로 무엇을 쓰는지 알아봅니다. IRC이거나, HTTP(요청하면 웹소켓을 쓰고, 아니면 들어오는 방법을 적은 글로
    답합니다)이거나, 터미널 앞의 사람(이름을 묻습니다)입니다. --tls나 --cert를 주면 TLS도 첫 바이트로 알아봅니다.

    계정과 등록된 방은 디렉터리(--data-dir)에 보관하고, 대화는 메모리에 두므로 서버가 끝나면 사라집니다. 방을 만든 사람이 그 방의
    운영자입니다. 서버 운영자와 그 밖의 모든 설정은 파일에 적습니다. --example-config로 예시 파일을 볼 수 있습니다.
about-web = 디렉터리를 HTTP와 HTTPS로 제공하거나 작은 안내 페이지를 띄웁니다
details-web =
    DIR은 제공할 디렉터리입니다. 스킴이 있거나 :PORT로 끝나는 인수는 주소로 봅니다. 이름이 그런 디렉터리는 ./이름으로 씁니다.
    DIR 밖의 파일은 어떤 경우에도 제공하지 않고, 심볼릭 링크를 따라가지 않으며, 점으로 시작하는 이름은 숨깁니다.

    바뀐 파일은 1초 동안 이전 내용으로 제공될 수 있습니다.
about-connect = 터미널이나 파이프를 주소에 연결합니다
about-listen = 연결을 기다렸다가 터미널, 파이프 또는 프로그램에 이어 줍니다
about-cert = 로컬 인증 기관으로 인증서를 만들고, 인증서의 내용을 봅니다
about-cert-new = 이름과 주소에, 또는 클라이언트에 인증서를 발급합니다
about-cert-ca = 로컬 인증 기관의 인증서가 어디에 있고 어떻게 신뢰하는지 알려 줍니다
about-cert-list = 로컬 인증 기관이 발급한 인증서의 목록을 출력합니다
about-cert-show = 파일에 든 인증서의 내용을 보여 줍니다
about-cert-check = 클라이언트가 거절할 만한 문제를 찾습니다: 날짜, 체인, 키
about-models = I/O 모델 목록과, 이 컴퓨터에서 쓸 수 있는 모델, 쓸 수 없는 까닭을 출력합니다
about-completions = 셸 자동 완성 스크립트를 출력합니다
about-man = 매뉴얼 페이지를 출력하거나, 모든 페이지를 디렉터리에 저장합니다
about-help = sotong 또는 명령의 도움말을 출력합니다

examples-sotong =
    sotong echo                      # 127.0.0.1:12345에 에코 서버를 띄웁니다
    sotong connect 127.0.0.1:12345   # 그 서버와 대화합니다
    sotong room                      # nc로 들어오는 채팅방을 127.0.0.1:8888에 엽니다
    sotong help room                 # 채팅방의 옵션을 봅니다
examples-echo =
    sotong echo
    sotong echo :0 --model threads
    sotong echo tcp://*:7007 udp://*:7007 unix:/tmp/echo.sock
    sotong echo tls://*:7443 --cert cert.pem --key key.pem
    sotong echo -vv --log-format json
examples-discard =
    sotong discard
    sotong discard udp://:10009
examples-chargen =
    sotong chargen
    sotong chargen tcp://:10019 udp://:10019
examples-daytime =
    sotong daytime
    sotong daytime tcp://:10013 udp://:10013
examples-time =
    sotong time
    sotong time tcp://:10037 udp://:10037
examples-room =
    sotong room                      # 다른 터미널에서: nc 127.0.0.1 8888
    sotong room *:8888 --workers 2
    sotong room unix:/tmp/room.sock
examples-chat =
    sotong chat                      # 그다음: irssi -c 127.0.0.1 -p 8888 또는 nc 127.0.0.1 8888
    sotong chat '*:8888' --tls       # 같은 네트워크에 공개, 한 포트에서 TLS와 평문을 모두 받습니다
    sotong chat :8888 tls://*:6697 --cert cert.pem --key key.pem
    sotong chat --motd hello.txt --network Class
examples-web =
    sotong web                       # http://127.0.0.1:8080/에 안내 페이지를 띄웁니다
    sotong web .                     # 현재 디렉터리를 제공합니다
    sotong web public *:8080 --workers 2
    sotong web ./dist :3000 --spa
    sotong web . :8080 --https        # 한 포트에서 HTTP와 HTTPS를 받습니다
    sotong web ~/in :8080 --upload --passwords people --access-log -
examples-connect =
    sotong connect 127.0.0.1:12345
    sotong connect :12345 -m "안녕하세요"
    sotong connect -z -w 2s localhost:8888
    sotong connect -x udp://127.0.0.1:10013
examples-listen =
    sotong listen :9000
    sotong listen :9000 -k --exec cat
    sotong listen *:9000 -k --allow 10.0.0.0/8 --exec grep -- -i error
examples-cert =
    sotong cert new localhost 127.0.0.1 ::1
    sotong cert ca                   # 발급한 인증서를 신뢰하는 방법
    sotong cert check localhost.pem --key localhost-key.pem
examples-cert-new =
    sotong cert new localhost 127.0.0.1 ::1
    sotong cert new www.example.com *.example.com --out certs --days 90
    sotong cert new --client alice
examples-cert-ca =
    sotong cert ca
    sotong cert ca --pem > ca.pem
examples-cert-list =
    sotong cert list
    sotong cert list --json
examples-cert-show =
    sotong cert show localhost.pem
    sotong cert show - --json
examples-cert-check =
    sotong cert check localhost.pem --key localhost-key.pem
    sotong cert check one.pem two.pem --days 14
examples-models =
    sotong models
    sotong models --json
examples-completions =
    sotong completions bash > ~/.local/share/bash-completion/completions/sotong
    sotong completions zsh > ~/.zfunc/_sotong
    sotong completions fish > ~/.config/fish/completions/sotong.fish
examples-man =
    sotong man | man -l -
    sotong man ~/.local/share/man/man1
examples-help =
    sotong help
    sotong help room

## 공통 옵션

arg-lang = 도움말, 시작 메시지, 오류 메시지의 언어. 없으면 LC_ALL, LC_MESSAGES, LANG을 따릅니다
arg-verbose = 연결이 열리고 닫힌 것과 그 이유를 로그에 남깁니다. 두 번 쓰면 페이로드도 남깁니다
arg-quiet = 오류만 출력합니다
arg-log-format = stderr에 쓰는 로그의 형식. json은 한 줄에 객체 하나이고 필드 이름이 바뀌지 않습니다
arg-color = 도움말과 오류에 색을 쓸 때. auto는 NO_COLOR, CLICOLOR_FORCE, TERM=dumb을 따릅니다
arg-help = 도움말을 출력합니다. --help는 -h보다 자세합니다
arg-version = 버전을 출력합니다

## 서버

arg-web-addresses = 제공할 디렉터리, 그 뒤에 수신 대기할 주소(여러 개 가능): HOST:PORT, HTTPS만 받는 tls://HOST:PORT, unix:경로. 포트 0은 빈 포트를 고릅니다
arg-index = 디렉터리 대신 보여 줄 파일
arg-no-list = 그런 파일이 없는 디렉터리의 목록을 보여 주지 않습니다
arg-hidden = 점으로 시작하는 이름도 제공합니다
arg-spa = 없는 경로에 확장자가 없으면 DIR의 첫 페이지를 보여 줍니다. 경로를 브라우저에서 다루는 애플리케이션을 위한 것입니다
arg-https = 일반 주소에서도 첫 바이트를 보고 HTTPS를 받습니다. --cert를 써도 그렇습니다
arg-upload = 디렉터리 페이지의 양식과 PUT으로 파일을 받습니다. 서버에 접속할 수 있으면 누구나 올릴 수 있습니다. --passwords를 참고하십시오
arg-overwrite = 받은 파일이 같은 이름의 파일을 대신할 수 있습니다
arg-upload-max = 받을 파일의 최대 크기
arg-passwords = 이름과 비밀번호를 묻습니다. FILE에는 --hash-password로 만든 해시를 이름:해시로 한 줄에 하나씩 씁니다
arg-hash-password = 표준 입력으로 받은 비밀번호의 해시를 출력하고 끝냅니다
arg-cors = 이 출처의 페이지가 내용을 읽을 수 있게 합니다(CORS). *는 모든 출처입니다
arg-access-log = 요청을 이 파일에 기록합니다. -는 표준 오류입니다
arg-access-format = 요청을 기록하는 형식
arg-addresses = 수신 대기할 주소, 여러 개 가능: HOST:PORT, tcp://…, udp://…, unix:경로, TLS는 tls://…와 tls+unix:경로, 웹소켓은 ws://…와 wss://…. 포트 0은 빈 포트를 고릅니다
arg-model = 연결을 처리하는 방식: 한 번에 하나씩, 연결마다 스레드 하나, 또는 프로세스나 스레드의 이벤트 루프. sotong models를 보십시오
arg-workers = 이벤트 루프의 수. 루프마다 스레드나 프로세스 하나를 쓰며, sequential과 threads 모델에는 필요 없습니다
arg-idle = 상대가 이 시간 동안 아무것도 보내지 않으면 연결을 끝냅니다. 없으면 조용해도 끊지 않습니다
arg-server-keepalive = 이 시간 동안 조용한 TCP 상대가 아직 살아 있는지 확인합니다. 0이면 확인하지 않습니다
arg-cert = tls:// 주소에서 쓸 인증서. 체인까지 든 PEM 파일이며, 여럿이면 클라이언트가 요청한 이름으로 고르고 나머지에게는 첫째를 보냅니다. 없으면 자체 서명 인증서를 한 번 만들어 계속 씁니다
arg-key = 인증서의 개인 키 PEM 파일. 여럿이면 인증서와 같은 순서로 씁니다. 없으면 인증서 파일에서 읽습니다
arg-client-ca = 이 PEM 파일의 인증 기관이 발급한 인증서를 가진 클라이언트만 받습니다
arg-client-auth = 클라이언트 인증서를 요구할지 정합니다. --client-ca가 있으면 demand입니다
arg-alpn = TLS 클라이언트에 제시할 응용 프로토콜. 선호하는 것부터 h2,http/1.1처럼 씁니다
arg-tls-min = 쓸 수 있는 가장 낮은 TLS 버전. 없으면 1.2입니다
arg-tls-max = 쓸 수 있는 가장 높은 TLS 버전. 없으면 1.3입니다
arg-tls-time = TLS 핸드셰이크에 줄 시간. 없으면 10초입니다
arg-ws-origin = ws:// 주소에서 이 출처(origin)의 웹 페이지도 받아들입니다. 예: https://example.org, 모두 받으려면 *. 없으면 요청한 호스트의 페이지만 받습니다. 출처를 밝히지 않는 프로그램은 언제나 받습니다
arg-ws-deflate = 압축된 메시지(permessage-deflate)를 제안하거나 받아들입니다. 메시지마다 따로 압축하며, 압축하지 않을 때보다 시간이 훨씬 많이 듭니다
arg-ws-message-bytes-max = 조각을 모두 합친 메시지 하나와 그 압축을 푼 결과의 최대 크기. 없으면 64KiB입니다. 더 길면 연결을 끊습니다(1009)
arg-ws-fragments-max = 메시지 하나를 나눈 조각의 최대 개수. 없으면 128개입니다. 더 많으면 연결을 끊습니다(1008)
arg-keepalive = 이 시간 동안 조용한 상대가 아직 살아 있는지 확인합니다
arg-members-max = 방에 동시에 있을 수 있는 사람의 수
arg-server-name = 서버가 자신을 부르는 이름입니다. 점이 들어 있어야 합니다
arg-network = 네트워크 이름, 한 낱말
arg-lobby = 터미널로 온 사람이 들어가는 방
arg-motd = IRC 클라이언트에 보여 줄 오늘의 알림, 텍스트 파일
arg-data-dir = 계정과 등록된 방을 이 디렉터리에 보관합니다
arg-config = 모든 설정을 이 파일에서 읽습니다. 예는 --example-config가 출력합니다
arg-check-config = --config 파일을 검사하고 끝냅니다
arg-example-config = 모든 설정이 기본값으로 들어 있고 설명이 달린 파일을 출력하고 끝냅니다
arg-chat-addresses = 수신 대기할 주소, 여러 개 가능: HOST:PORT, tcp://…, unix:경로, TLS만 쓰려면 tls://…와 tls+unix:경로. 웹소켓은 모든 주소에서 씁니다. 포트 0은 빈 포트를 고릅니다
arg-chat-tls = 평문 주소에서도 첫 바이트로 알아보고 TLS를 받습니다. --cert를 주어도 같습니다
arg-no-flood-control = 명령을 늦추지 않고 한 주소의 연결 수도 제한하지 않습니다. 부하 시험에 씁니다
arg-line-bytes-max = 한 줄의 최대 크기. 더 긴 줄을 보낸 연결은 끊습니다
arg-name-tries-max = 새로 온 사람이 쓸 수 없거나 이미 쓰이는 이름을 시도할 수 있는 횟수
arg-name-time = 새로 온 사람이 이름을 정할 때까지 기다리는 시간
arg-max-conns = 동시 연결 수. 없으면 16384와 디스크립터 한도가 허용하는 수 중 작은 쪽입니다. sequential에서는 항상 하나이고, processes에서는 워커가 나누어 가지며 값이 없으면 워커마다 16384입니다
arg-retire = processes 모델에서 SIGHUP으로 교체된 워커가 남은 연결을 끝내기 전에 계속 처리하는 시간
arg-hold-idle = sequential 모델에서 다른 클라이언트가 기다릴 때, 자리를 차지한 클라이언트가 조용히 있을 수 있는 시간
arg-hold-time = sequential 모델에서 다른 클라이언트가 기다릴 때, 클라이언트 하나가 자리를 차지할 수 있는 전체 시간
arg-output-low = 보내지 못한 출력이 이 아래로 내려가면 멈췄던 연결을 다시 읽습니다
arg-output-high = 보내지 못한 출력이 이만큼 쌓이면 그 연결에서 더 읽지 않습니다
arg-output-hard = 보내지 못한 출력이 이만큼 쌓이면 연결을 끊습니다
arg-untaken-bytes-max = 한 연결에서 아직 해석하지 못한 입력의 최대 크기. 넘으면 연결을 닫습니다
arg-turn-bytes-max = 다른 연결에 차례를 넘기기 전에 한 연결에서 읽는 최대 크기
arg-stall = 출력이 이 시간 동안 조금도 나가지 못한 연결은 끊습니다
arg-linger = 닫는 중인 연결에 남은 입력을 읽어서 버리는 시간
arg-linger-bytes-max = 그렇게 버리는 입력의 최대 크기
arg-drain = 종료할 때 모든 연결이 마무리하도록 기다리는 시간. 시그널을 한 번 더 보내면 바로 끝냅니다
arg-udp-peers-max = 주소 하나가 기억하는 UDP 상대의 수. 넘으면 가장 오래 조용한 상대부터 잊습니다
arg-udp-idle = UDP 상대가 이 시간 동안 데이터그램을 보내지 않으면 잊습니다
arg-inbox-high = 워커 하나에 이만큼 메시지가 쌓이면, 메시지를 보내는 쪽의 연결을 더 읽지 않습니다
arg-mail-per-mail-max = 메시지 하나가 일으킬 수 있는 메시지의 수
arg-memory-max = 모든 연결을 통틀어 메모리에서 기다릴 수 있는 양. 90 %에 이르면 가장 많이 쌓인 연결부터 끊고, 95 %에 이르면 새 연결을 받지 않습니다. 0이면 한계가 없습니다

## connect와 listen

arg-connect-address = 접속할 주소: HOST:PORT, tcp://…, udp://…, unix:경로, tls://…, tls+unix:경로, ws://…, wss://…. 이름에 속한 주소를 모두 시도합니다
arg-listen-addresses = 수신 대기할 주소, 여러 개 가능: HOST:PORT, tcp://…, udp://…, unix:경로. 포트 0은 빈 포트를 골라 출력합니다
arg-message = 입력 대신 이 텍스트를 보내고, 응답을 끝까지 읽습니다
arg-crlf = 줄 끝을 CR LF로 보냅니다. 이미 CR LF이면 그대로 둡니다
arg-check = 누가 수신 대기 중인지만 확인합니다. localhost:20-25 같은 범위도 됩니다. 종료 코드: 0 열림(하나라도), 69 닫힘, 75 응답 없음. 대답하지 않는 UDP 서비스는 응답 없음으로 봅니다
arg-hex = 오가는 데이터를 방향과 함께 16진수로 stderr에 보여 줍니다
arg-log = 오가는 데이터를 양방향 모두 오는 대로 파일에도 저장합니다
arg-timeout = 접속이 이 시간보다 오래 걸리거나(없으면 30s, UDP 포트의 -z는 3s), 이 시간 동안 아무 데이터도 오가지 않으면(없으면 제한 없음) 그만둡니다(종료 코드 75). UDP에서는 입력이 끝난 뒤 응답을 1s 대신 이 시간 동안 기다립니다
arg-listen-timeout = 이 시간 동안 아무도 접속하지 않거나(-k가 없을 때), 아무 데이터도 오가지 않으면 그만둡니다(종료 코드 75). 없으면 제한이 없지만, -k나 --exec를 쓰면 UDP 상대는 1m 뒤에 잊습니다
arg-ipv4 = IPv4만 씁니다
arg-ipv6 = IPv6만 씁니다
arg-source = 접속할 때 쓸 자신의 주소 또는 주소:포트
arg-listen-source = ADDR의 호스트 대신 수신 대기할 자신의 주소. 주소:포트로 쓰면 ADDR의 포트가 0일 때 그 포트를 씁니다
arg-retry = 다시 시도하는 횟수. 0.25초, 0.5초, 1초처럼 최대 10초까지 간격을 늘립니다
arg-listen-retry = 주소가 사용 중일 때 다시 시도하는 횟수. 0.25초, 0.5초, 1초처럼 최대 10초까지 간격을 늘립니다
arg-keep-open = 첫 클라이언트 뒤에도 계속 여럿을 동시에 받습니다. 입력은 모두에게 보내고(10s 동안 아무것도 받아 가지 않은 상대에게는 더 보내지 않음), 받은 데이터는 오는 대로 출력합니다
arg-exec = 연결마다 이 프로그램을 실행하고 입출력을 상대에 이어 줍니다. 상대의 주소는 SOTONG_PEER, 자신의 주소는 SOTONG_LOCAL에 있습니다. 인자는 셸에서처럼 이어 쓰거나 -- 뒤에 씁니다
arg-exec-args = 프로그램의 인자
arg-allow = 10.0.0.0/8처럼 지정한 네트워크에서 온 연결만 받습니다
arg-deny = 지정한 네트워크에서 온 연결을 막습니다. --allow보다 우선합니다
arg-listen-max-conns = 동시 연결 수

## connect의 TLS

arg-ca = 시스템의 인증 기관 대신 이 PEM 파일의 인증 기관을 신뢰합니다. 파일에 들어 있는 서버 인증서도 신뢰합니다
arg-pin = SHA-256 지문이 이것인 인증서를 제시하는 상대만 신뢰합니다. 이름과 날짜는 보지 않습니다
arg-insecure = 누구나 신뢰합니다. 경로 중간에 있는 누구든 내용을 읽고 바꿀 수 있습니다
arg-servername = ADDR의 호스트와 다를 때, 서버에 요청하고 확인할 이름
arg-starttls = 평문으로 시작해서, 먼저 이 프로토콜로 서버에 TLS를 요청합니다
arg-show-cert = 서버가 제시한 것(인증서, 이름, 날짜, 지문, 프로토콜, 암호)을 출력하고 끝냅니다. 신뢰할 수 없으면 종료 코드 77
arg-connect-json = --show-cert와 함께: 이름이 고정된 JSON 객체 하나를 출력합니다
arg-keylog = 캡처를 복호화할 수 있도록 세션의 비밀 값을 이 파일에 씁니다. =FILE이 없으면 SSLKEYLOGFILE이 가리키는 파일에 씁니다
arg-connect-cert = 서버가 요청하면 제시할 인증서. 발급자들의 인증서가 뒤따르는 PEM 파일입니다
arg-connect-key = 인증서의 개인 키 PEM 파일. 없으면 인증서 파일에서 읽습니다
arg-connect-alpn = 제안할 애플리케이션 프로토콜(ALPN), 원하는 순서대로. 예: h2,http/1.1

## connect의 웹소켓

arg-blocks = 읽은 블록마다 바이너리 메시지 하나로 보내고, 받은 것은 그대로 씁니다. 없으면 줄마다 줄 끝을 뗀 텍스트 메시지로 보내고, 받은 메시지 뒤에는 줄 끝을 붙입니다
arg-ws-protocol = 제안할 서브프로토콜, 원하는 순서대로
arg-ws-header = 요청에 더할 헤더 필드. 예: 'Authorization: Bearer …', 'Origin: https://example.org'
arg-ws-quiet = 입력이 끝난 뒤 이 시간 동안 아무것도 오지 않으면 닫습니다. 없으면 1초입니다

## completions, man, help

arg-shell = 셸
arg-folder = 페이지를 저장할 디렉터리
arg-command = 명령

## 사용법 오류 (종료 코드 2)

usage-unknown-flag = '{ $flag }' 옵션은 없습니다.
usage-unexpected-value = '{ $value }'{ PARTICLE($value, "은/는") } 필요 없는 인자입니다.
usage-unknown-command = '{ $command }' 명령은 없습니다.
usage-similar = 혹시 '{ $like }'{ PARTICLE($like, "을/를") } 쓰려고 했습니까?
usage-missing-value = '{ $flag }' 옵션에는 값이 필요합니다.
usage-missing-argument = 다음 인자가 필요합니다: { $names }
usage-bad-choice = '{ $value }'{ PARTICLE($value, "은/는") } '{ $flag }'에 쓸 수 없는 값입니다. 가능한 값: { $choices }.
usage-bad-value = '{ $value }'{ PARTICLE($value, "은/는") } '{ $flag }'에 쓸 수 없는 값입니다: { $why }
usage-why-size = 크기는 바이트 수로 쓰거나 B, KiB, MiB, GiB를 붙여 씁니다
usage-why-time = 시간은 초로 쓰거나 ms, s, m, h, d를 붙여 씁니다
usage-why-no-time = 0보다 길어야 합니다
usage-why-too-large = 값이 너무 큽니다
usage-why-range = { $low } 이상 { $high } 이하의 정수를 써야 합니다
usage-why-fingerprint = SHA-256 지문은 16진수 64자리이며, 콜론은 있어도 없어도 됩니다
usage-why-host-name = 호스트 이름이나 IP 주소를 씁니다
usage-why-keylog = 파일을 지정하거나(--keylog=FILE) SSLKEYLOGFILE을 설정하십시오
usage-why-server-name = 서버 이름은 영문자, 숫자, 붙임표, 점으로 되어 있고 점이 하나는 있어야 합니다
usage-why-network-name = 네트워크 이름은 영문자, 숫자, 붙임표로 된 한 낱말입니다
usage-why-room-name = 방 이름은 #으로 시작하고 빈칸, 쉼표, 별표가 없어야 합니다
usage-server-name = '{ $text }'{ PARTICLE($text, "은/는") } 인증서의 이름이 될 수 없습니다. 확인할 이름을 --servername으로 지정하십시오.
usage-starttls = --starttls는 TCP나 Unix 주소에서 평문으로 시작합니다. '{ $address }'에는 쓸 수 없습니다.
usage-value-not-taken = '{ $flag }' 옵션에는 값을 쓸 수 없습니다.
usage-twice = '{ $flag }' 옵션은 한 번만 쓸 수 있습니다.
usage-conflict = '{ $flag }' 옵션은 '{ $other }' 옵션과 함께 쓸 수 없습니다.
usage-not-unicode = UTF-8 텍스트가 아닌 인자가 있습니다.
usage-limits-marks = 출력 제한값은 차례로 커져야 합니다: --output-low { $low } < --output-high { $high } < --output-hard { $hard }.
usage-limits-zero = '{ $flag }' 값은 1 이상이어야 합니다.
usage-needs-tls = '{ $flag }'{ PARTICLE($flag, "은/는") } TLS용인데, TLS를 쓰는 주소가 없습니다. tls://HOST:PORT나 tls+unix:경로처럼 쓰십시오.
usage-needs-ws = '{ $flag }'{ PARTICLE($flag, "은/는") } 웹소켓용인데, 웹소켓을 쓰는 주소가 없습니다. ws://HOST:PORT나 wss://HOST:PORT처럼 쓰십시오.
usage-ws-in-file = 대화 서버는 모든 주소에서 웹소켓을 쓰므로 '{ $flag }'{ PARTICLE($flag, "을/를") } 쓰지 않습니다. 웹소켓 설정은 설정 파일(--config)에 적습니다.
usage-ws-request = '{ $text }'{ PARTICLE($text, "은/는") } 웹소켓 요청에 쓸 수 없습니다.
usage-needs = '{ $flag }'{ PARTICLE($flag, "은/는") } '{ $other }'{ PARTICLE($other, "와/과") } 함께 써야 합니다.
usage-keys = --cert가 { $certs }개인데 --key가 { $keys }개입니다. 인증서마다 같은 순서로 키를 주거나, 인증서 파일에 키가 들어 있으면 --key를 쓰지 마십시오.
usage-alpn = '{ $name }'{ PARTICLE($name, "은/는") } 프로토콜 이름이 될 수 없습니다. 이름은 1바이트에서 255바이트까지입니다.

## 그 밖의 오류

error-write = { $what }에 쓸 수 없습니다: { $why }.
io-not-found = 파일이나 디렉터리가 없습니다
io-permission = 권한이 없습니다
io-storage-full = 디스크가 가득 찼습니다
io-is-folder = 디렉터리입니다
io-no-folder = 경로의 일부가 디렉터리가 아닙니다
io-read-only = 읽기 전용 파일 시스템입니다

## 주소

error-address = '{ $text }'{ PARTICLE($text, "은/는") } 주소가 아닙니다: { $why }.
address-empty = 비어 있습니다. HOST:PORT, :PORT, unix:경로처럼 쓰십시오
address-unknown-scheme = { $scheme }:// 스킴은 없습니다. tcp://, udp://, unix:, tls://, tls+unix:, ws://, wss://를 쓸 수 있습니다
address-unknown-scheme-like = { $scheme }:// 스킴은 없습니다. 혹시 { $like }:{ PARTICLE($like, "을/를") } 쓰려던 것은 아닌지 확인하십시오
address-write = { $form }처럼 쓰십시오
address-missing-port = 포트가 없습니다. { $host }:PORT처럼 쓰십시오
address-port-alone = 호스트가 없습니다. 이 컴퓨터에서만 쓰려면 :{ $port }, 모든 주소에서 쓰려면 *:{ $port }{ PARTICLE($port, "으로/로") } 쓰십시오
address-bad-port = '{ $port }'{ PARTICLE($port, "은/는") } 포트가 아닙니다. 포트는 1에서 65535 사이의 숫자이며, 수신 대기할 때 0은 빈 포트를 고릅니다
address-empty-host = 대괄호 안에 주소가 없습니다
address-unbracketed = IPv6 주소는 대괄호로 감싸야 합니다. [{ $text }]:PORT처럼 쓰십시오
address-bad-ipv6 = '{ $text }'{ PARTICLE($text, "은/는") } 대괄호로 감싼 IPv6 주소가 아닙니다. [주소]:PORT처럼 쓰십시오
address-bad-ipv4 = '{ $text }'{ PARTICLE($text, "은/는") } IPv4 주소가 아닙니다. 0에서 255 사이의 숫자 네 개로 씁니다
address-bad-host = '{ $host }'{ PARTICLE($host, "은/는") } 호스트 이름이 아닙니다. '{ $bad }' 문자는 쓸 수 없습니다
address-host-too-long = 호스트 이름이 { $bytes }바이트입니다. 최대 { $most }바이트까지 쓸 수 있습니다
address-after-port = '{ $text }' 부분은 쓸 수 없습니다. 주소는 포트로 끝나야 합니다
address-bad-path = '{ $path }'{ PARTICLE($path, "은/는") } 경로가 아닙니다. '{ $bad }'{ PARTICLE($bad, "은/는") } 경로에 쓸 수 없습니다
address-path-too-long = 경로가 { $bytes }바이트로, 최대 { $most }바이트를 넘습니다
address-empty-unix = 유닉스 소켓의 이름이 없습니다. unix:경로 또는 unix:@이름으로 쓰십시오
address-unix-host = 절대 경로는 unix:/{ $path }, 상대 경로는 unix:{ $path }처럼 쓰십시오
address-unix-too-long = 유닉스 소켓의 이름이 { $bytes }바이트로, 최대 { $most }바이트를 넘습니다. 더 짧은 경로나 상대 경로를 쓰십시오
address-unix-nul = 유닉스 소켓의 이름에는 NUL 바이트를 쓸 수 없습니다
address-dial-port-zero = 포트 0은 수신 대기할 때만 쓸 수 있습니다. 접속할 포트를 쓰십시오
address-dial-all = *는 수신 대기할 때만 쓸 수 있습니다. 접속할 호스트를 쓰십시오
error-listen = { $at }에서 수신 대기할 수 없습니다: { $why }.
listen-in-use = 이미 사용 중인 주소입니다. 사용 중인 프로그램을 종료하거나 다른 포트를 고르십시오 (포트 0은 빈 포트를 고릅니다)
listen-low-port = 포트 { $port }번을 쓰려면 권한이 필요합니다. 1024 이상의 포트를 고르거나 CAP_NET_BIND_SERVICE 권한을 부여하십시오
listen-in-use-unix = 이미 사용 중인 주소입니다. 사용 중인 프로그램을 종료하거나 다른 경로나 이름을 고르십시오
listen-no-permission = 시스템이 허용하지 않습니다. 다른 주소를 고르거나 권한이 있는 사용자로 실행하십시오
listen-not-available = { $ip }{ PARTICLE($ip, "은/는") } 이 컴퓨터의 주소가 아닙니다. 이 컴퓨터의 주소를 고르거나, 모든 주소를 뜻하는 *를 쓰십시오
listen-no-family = 이 컴퓨터에서는 { $family }{ PARTICLE($family, "을/를") } 쓸 수 없습니다. 다른 주소를 고르십시오
listen-no-directory = { $directory } 디렉터리가 없습니다. 디렉터리를 만들거나 다른 경로를 고르십시오
listen-not-a-socket = { $path } 파일이 이미 있으며 소켓이 아닙니다. 파일을 지우거나 다른 경로를 고르십시오
listen-read-only = 읽기 전용 파일 시스템입니다. 다른 경로를 고르십시오
listen-exhausted = 디스크립터나 메모리가 부족합니다. 한도를 늘리십시오 (ulimit -n)
resolve-not-found = { $host } 이름의 주소를 찾을 수 없습니다({ $reason }). 이름을 확인하거나 주소를 직접 쓰십시오
resolve-none-of-family = { $host }에는 { $family } 주소가 없습니다
resolve-no-such-zone = 이 컴퓨터에는 { $zone } 인터페이스가 없습니다
resolve-timed-out = { $host } 이름의 주소를 { $seconds }초 안에 찾지 못했습니다
resolve-busy = 응답을 기다리는 이름 조회가 너무 많습니다. 잠시 후 다시 시도하십시오
resolve-no-thread = 이름 조회에 쓸 스레드를 만들 수 없습니다({ $why })
system-says = { $call }: { $why }

## 서버의 시작, 종료, 실패

serve-listening = sotong { $service }: 수신 대기 중 { $address } ({ $model }, 워커 { $workers }개)
serve-listening-threads = sotong { $service }: 수신 대기 중 { $address } ({ $model })
serve-conns-capped = 디스크립터 한도 때문에 동시 연결은 최대 { $count }개입니다. 한도를 늘리십시오 (ulimit -Hn).
serve-try = 접속해 보기: { $command }
chat-in-irssi = irssi에서: { $command }
chat-proxied = { $address }: PROXY 헤더로 누구를 데려오는지 알리는 프록시만 받습니다. 직접 들어올 수는 없습니다
chat-open = 이 서버를 끝낸 뒤 같은 네트워크에 TLS로 공개하려면: { $command }
chat-kept = 계정과 등록된 방을 { $folder }에 보관합니다
chat-forgets = 계정과 방은 이 서버가 끝나면 사라집니다. --data-dir DIR을 주면 보관합니다
chat-folder-in-use = 다른 대화 서버가 { $folder }에 계정을 보관하고 있어 이 서버의 계정은 끝나면 사라집니다. --data-dir DIR을 주면 보관합니다.
store-folder = { $path } 디렉터리를 쓸 수 없습니다: { $why }.
store-in-use = 다른 대화 서버가 { $path }에 계정을 보관하고 있습니다. 그 서버를 끝내거나 다른 디렉터리를 지정하십시오.
store-later = { $path } 파일은 더 새로운 sotong이 쓴 것입니다. 그 버전을 쓰십시오.
store-bad = { $path } 파일을 읽을 수 없습니다: { $why }.
chat-page-what = { $network } 대화 서버입니다.
chat-page-irc = IRC 클라이언트로 들어오기: { $command }
chat-page-irssi = IRC 클라이언트로 들어오기, irssi에서는: { $command }
chat-page-proxy = 프록시를 거쳐 오셨습니다. 웹소켓으로는 브라우저에 보이는 주소에서 http://를 ws://로, https://를 wss://로 바꾸어 들어옵니다. IRC 클라이언트와 nc도 지나갈 수 있는지는 프록시 주인이 압니다.
chat-page-direct = 이 서버에 직접 접속할 수 있으면 이렇게 들어옵니다:
chat-page-ws = WebSocket으로 들어오기, 메시지마다 IRC 한 줄: { $command }
chat-page-nc = 터미널에서 들어오기: { $command } ({ $room } 방으로 들어옵니다)
serve-cert = 인증서: { $file } (이름 { $names }, { $at }까지), SHA-256 { $fingerprint }
serve-cert-made = 인증서: 자체 서명, 방금 만들어 { $file }에 보관, SHA-256 { $fingerprint }
serve-cert-own = 인증서: 자체 서명, { $file }에 보관, SHA-256 { $fingerprint }
serve-stopping = sotong { $service }: 종료하는 중입니다. 연결이 마무리되도록 { $drain } 동안 기다리며, 시그널을 한 번 더 보내면 바로 끝냅니다
error-passed = LISTEN_FDS로 넘겨받은 리스너를 쓸 수 없습니다: { $why }.
passed-bad-count = LISTEN_FDS={ $value }{ PARTICLE($value, "은/는") } 디스크립터 수가 아닙니다
passed-missing = 디스크립터 { $fd }번이 열려 있지 않습니다
passed-wrong-kind = 디스크립터 { $fd }번은 수신 대기 중인 TCP·유닉스 소켓도, UDP 소켓도 아닙니다
passed-system = 디스크립터 { $fd }번: { $why }
error-streams-only = { $service }에는 연결이 필요하므로 { $address }에서 수신 대기할 수 없습니다. tcp://나 unix:를 쓰십시오.
error-speaks-ws = 대화 서버는 모든 주소에서 웹소켓도 함께 쓰므로 { $address } 같은 주소는 쓰지 않습니다. { $instead }{ PARTICLE($instead, "으로/로") } 쓰십시오.
error-no-messages = { $command } 명령은 웹소켓을 쓰지 않으므로 { $address } 주소를 쓸 수 없습니다. tcp://나 tls://를 쓰십시오.
error-sts = [sts] 설정을 쓸 수 없습니다. { $why }
error-read = { $path } 파일을 쓸 수 없습니다: { $why }.
passwords-line = { $line }번째 줄이 이름:해시가 아니거나, 해시가 sotong web --hash-password로 만든 것이 아닙니다
passwords-twice = { $line }번째 줄의 이름이 앞에 이미 있습니다
passwords-empty = 이름이 하나도 없습니다
web-password = 비밀번호:
error-folder = { $path } 디렉터리를 제공할 수 없습니다: { $why }.
error-folder-unconfined = 아무것도 제공하지 않습니다. 이 커널에서는 이름을 디렉터리 안으로 제한할 수 없습니다(openat2: { $why }). 샌드박스가 막지 않는다면 리눅스 5.6 이상에서 됩니다.
error-model-one-at-a-time = { $service }의 연결들은 서로 메시지를 주고받지만 { $model } 모델은 한 번에 연결 하나만 처리하므로, { $model } 모델에서는 { $service }{ PARTICLE($service, "을/를") } 실행할 수 없습니다. 다음 중 하나를 쓰십시오: { $able }.
error-model-memory-apart = { $service }의 연결들은 서로 메시지를 주고받지만 { $model } 모델의 워커들은 메모리를 공유하지 않으므로, { $model } 모델에서는 { $service }{ PARTICLE($service, "을/를") } 실행할 수 없습니다. 다음 중 하나를 쓰십시오: { $able }.
error-worker = 이 프로세스는 워커로 시작되었지만 워커로 일할 수 없습니다: { $why }.
error-serve = 서버가 멈췄습니다: { $why }.
error-signal = 연결이 마무리되기 전에 시그널 { $number }번으로 종료했습니다.

## connect와 listen의 결과와 실패

check-open = { $at }: 열림
check-closed = { $at }: 닫힘
check-no-answer = { $at }: 응답 없음
listen-listening = sotong listen: 수신 대기 중 { $address }
listen-exposed = { $address }에 접속할 수 있으면 누구나 --exec 프로그램을 실행할 수 있습니다. --allow나 --deny로 제한하거나 localhost에서 수신 대기하십시오.
error-dial = { $to }에 접속할 수 없습니다: { $why }.
error-dial-target = 접속할 수 없습니다: { $why }.
error-dial-source = 자신의 주소 { $from }{ PARTICLE($from, "은/는") } { $family } 주소가 아니므로 두 옵션이 서로 맞지 않습니다.
dial-refused = 수신 대기 중인 서버가 없습니다. 서버를 띄우거나 포트를 확인하십시오
dial-refused-unix = 수신 대기 중인 서버가 없습니다. 서버를 띄우거나 경로나 이름을 확인하십시오
dial-unreachable = 도달할 수 없습니다. 주소와 네트워크를 확인하십시오
dial-no-answer = { $time } 안에 응답이 없습니다. 주소를 확인하거나 -w로 더 오래 기다리십시오
dial-no-permission = 시스템이 허용하지 않습니다
dial-no-such-socket = 그런 소켓이 없습니다. 서버를 띄우거나 경로를 확인하십시오
dial-wrong-kind = 이런 종류의 소켓이 아닙니다
dial-needs-zone = 링크 로컬 주소에는 인터페이스가 필요합니다. [주소%인터페이스]처럼 쓰십시오
dial-source-not-available = { $from }{ PARTICLE($from, "은/는") } 이 컴퓨터의 주소가 아닙니다
dial-source-in-use = 자신의 포트 { $port }번은 이미 사용 중입니다. 다른 포트를 고르거나 포트를 쓰지 마십시오
dial-source-no-permission = 자신의 포트 { $port }번을 쓰려면 권한이 필요합니다. 1024 이상의 포트를 고르십시오
dial-no-local-port = 이 컴퓨터에 남은 포트가 없습니다
join-reset = { $peer } 쪽에서 연결을 끊었습니다. 받은 데이터가 온전하지 않을 수 있습니다.
join-idle = { $time } 동안 { $peer } 쪽과 아무 데이터도 오가지 않았습니다 (-w).
join-nobody-came = { $time } 안에 아무도 접속하지 않았습니다 (-w).
join-refused = { $peer }에서 수신 대기 중인 서버가 없습니다. 서버를 띄우거나 포트를 확인하십시오.
join-connection = { $peer } 연결이 실패했습니다: { $why }.
join-input = 입력을 읽을 수 없습니다: { $why }.
join-output = 출력을 쓸 수 없습니다: { $why }.
join-log = 로그 파일에 쓸 수 없습니다: { $why }.
join-program = { $program }{ PARTICLE($program, "을/를") } 실행할 수 없습니다: { $why }.
join-words = '{ $line }'{ PARTICLE($line, "은/는") } 프로그램이 아닙니다: { $why }.
words-empty = 비어 있습니다
words-open-quote = 따옴표가 닫히지 않았습니다
words-open-escape = 끝에 백슬래시가 있습니다
join-network = '{ $text }'{ PARTICLE($text, "은/는") } 네트워크가 아닙니다: { $why }.
cidr-bad-address = 주소, 또는 10.0.0.0/8처럼 주소/비트 수로 쓰십시오
cidr-bad-bits = /{ $bits }{ PARTICLE($bits, "은/는") } 0에서 { $most } 사이의 길이가 아닙니다
cidr-host-bits = 네트워크는 { $meant }{ PARTICLE($meant, "으로/로") } 쓰고, 주소 하나는 길이 없이 쓰십시오
join-ports = '{ $text }'{ PARTICLE($text, "은/는") } 1개에서 { $most }개 사이의 포트 범위가 아닙니다.
join-setup = 시스템에 연결을 더 만들 여유가 없습니다: { $why }.
join-truncated = { $peer } 쪽이 TLS의 끝 표시(close_notify) 없이 끝냈습니다. 받은 데이터가 잘렸을 수 있습니다.
join-untrusted = { $peer } 쪽을 신뢰할 수 없습니다: { $why }. { $how }
join-client-cert = { $peer } 쪽이 클라이언트 인증서를 요구하며 연결을 거절했습니다. --cert와 --key로 지정하십시오.
join-client-cert-refused = { $peer } 쪽이 --cert의 인증서를 거절했습니다: { $why }.
join-not-tls = { $peer } 쪽은 TLS를 쓰지 않습니다. 받은 내용: { $said }. tcp://나 --starttls를 써 보십시오.
join-tls = { $peer } 쪽과의 TLS가 실패했습니다: { $why }.
join-handshake = { $peer } 쪽이 { $time } 안에 TLS 핸드셰이크를 마치지 않았습니다. -w로 더 오래 기다릴 수 있습니다.
connect-speaks-tls = { $peer } 쪽이 TLS 경고로 응답했습니다. TLS를 쓰는 것으로 보이니 tls://나 --starttls를 써 보십시오.
join-ws-refused = { $peer } 쪽이 웹소켓을 허락하지 않고 { $status }{ PARTICLE($status, "으로/로") } 응답했습니다. 경로와 포트를 확인하십시오.
join-ws-truncated = { $peer } 쪽이 웹소켓의 끝 표시(Close 프레임) 없이 연결을 끝냈습니다. 받은 내용이 잘렸을 수 있습니다.
join-ws-idle = { $peer } 쪽이 { $time } 안에 웹소켓 핸드셰이크를 마치지 않았습니다. -w로 더 오래 기다릴 수 있습니다.
join-ws-not-text = 입력이 UTF-8이 아니므로 텍스트로 보낼 수 없습니다. --blocks로 보내십시오.
join-ws = { $peer } 쪽과의 웹소켓 통신이 실패했습니다: { $why }.
connect-insecure = 서버 인증서를 확인하지 않습니다(--insecure). 경로 중간에 있는 누구든 내용을 읽고 바꿀 수 있습니다.
untrusted-expired = 인증서가 { $date }에 만료되었습니다
untrusted-not-yet = 인증서가 { $date }부터 유효합니다
untrusted-issuer = 인증서를 발급한 { $issuer }{ PARTICLE($issuer, "은/는") } 이 시스템이 신뢰하지 않는 기관입니다
untrusted-self-signed = 자체 서명 인증서여서 보증해 주는 기관이 없습니다
untrusted-name = 인증서가 { $name }의 것이 아니라 { $names }의 것입니다
untrusted-no-name = 인증서가 { $name }의 것이 아니며, 호스트 이름이 전혀 들어 있지 않습니다
untrusted-revoked = 인증서가 폐기되었습니다
untrusted-signature = 서명이 틀립니다. 주장하는 상대가 아닙니다
untrusted-encoding = 인증서를 읽을 수 없습니다
untrusted-purpose = 서버용 인증서가 아닙니다
untrusted-authority = 인증 기관의 인증서를 서버 인증서로 제시합니다
untrusted-version = 오래된 X.509 버전 { $version } 인증서입니다
untrusted-pin = 인증서의 지문이 지정한 것과 다릅니다: { $seen }
untrusted-detail = { $detail }
trust-nothing = 신뢰할 방법이 없습니다.
trust-new-pin = 인증서가 새로 바뀐 것이라면 다음을 쓰십시오: --pin { $pin }
trust-ca = 알고서 신뢰하려면 기관의 인증서 파일을 --ca FILE로 지정하거나 다음을 쓰십시오: --pin { $pin }
trust-name = 다른 이름의 서버라면 --servername NAME을, 이 인증서를 그대로 신뢰하려면 다음을 쓰십시오: --pin { $pin }
trust-pin = 알고서 이 인증서를 그대로 신뢰하려면 다음을 쓰십시오: --pin { $pin }
shown-peer = { $peer }, 요청한 이름 { $name }
shown-protocol = { $version }, { $cipher }, 키 교환 { $group }
shown-alpn = 애플리케이션 프로토콜 { $alpn }
shown-trusted = 신뢰할 수 있음
shown-untrusted = 신뢰할 수 없음: { $why }
shown-client-asked = 클라이언트 인증서를 요청받았고 주지 않았음

## Models

arg-json = 모델마다 이름이 고정된 JSON 객체를 하나씩 출력합니다
model-sequential = 한 번에 연결 하나, 나머지는 기다림
model-threads = 연결마다 스레드 하나
model-processes = 감독 프로세스 아래 워커 프로세스들, 저마다 이벤트 루프 하나
model-epoll = 누가 준비됐는지 커널에 묻는 이벤트 루프
model-async = Tokio 위의 이벤트 루프
model-uring = io_uring 위의 이벤트 루프
models-auto = 지정하지 않으면 이 모델을 씀
models-no-rooms = 대화방 불가
models-unavailable = 여기서는 쓸 수 없음: { $why }
missing-forbidden = 여기서는 io_uring을 쓸 권한이 없습니다(seccomp 또는 sysctl kernel.io_uring_disabled)
missing-absent = 이 커널에 io_uring이 없거나 샌드박스가 가리고 있습니다
missing-memory = io_uring에 쓸 메모리를 충분히 잠글 수 없습니다(ulimit -l)
missing-lacks = 이 커널의 io_uring에 없는 것이 있습니다({ $what })
serve-auto = 모델: { $model } (이 컴퓨터에서 쓸 수 있는 가장 빠른 모델입니다. --model로 바꿀 수 있습니다)
serve-auto-instead = 모델: { $model } ({ $why }. --model로 바꿀 수 있습니다)
error-model-unavailable = 여기서는 { $model } 모델을 쓸 수 없습니다: { $why }. --model epoll을 쓰거나 --model을 빼십시오.

## sotong web의 페이지

web-page-root = 파일
web-page-up = 위로
web-page-name = 이름
web-page-size = 크기
web-page-changed = 바뀐 때(UTC)
web-page-empty = 빈 디렉터리입니다.
web-page-more = 보이는 것보다 파일이 더 있습니다.
web-page-upload = 여기에 파일 올리기
web-page-send = 보내기
web-hello-title = Sotong이 실행 중입니다
web-hello-what = 제공할 디렉터리 없이 시작한 웹 서버의 페이지입니다.
web-hello-next = 파일을 제공하려면 디렉터리를 지정해 시작하십시오: sotong web DIR
## 인증서

arg-names = DNS 이름(첫 부분에 별표를 쓸 수 있음)과 IP 주소. 클라이언트이면 그 이름
arg-client = 서버가 클라이언트를 알아보는 데 쓰는 클라이언트 인증서를 만듭니다
arg-out = 저장할 디렉터리. 없으면 만듭니다
arg-force = 이미 있는 파일을 덮어씁니다
arg-cert-new-days = 유효한 날수
arg-key-type = 키의 종류. 브라우저는 ecdsa만 받아들입니다
arg-pem = 프로그램에서 쓸 수 있게 인증서 자체를 출력합니다
arg-cert-list-json = 인증서마다 이름이 고정된 JSON 객체를 하나씩 출력합니다
arg-cert-show-json = 인증서마다 이름이 고정된 JSON 객체를 하나씩 출력합니다
arg-file = 인증서 파일(PEM 또는 DER). -는 표준 입력입니다
arg-files = 서버가 보여 주는 순서 그대로의 인증서 파일들
arg-cert-check-key = 인증서와 맞는지 확인할 개인 키 파일
arg-cert-check-days = 이 날수 안에 만료되는 것도 찾습니다
arg-cert-check-json = 파일마다 이름이 고정된 JSON 객체를 하나씩 출력합니다
certificate-names = 이름: { $names }
certificate-issuer = 발급자: { $issuer }
certificate-self-signed = 발급자: 자체 서명
certificate-valid = 유효 기간: { $from } - { $to } ({ $left })
certificate-left = { $days }일 남음
certificate-expired = { $days }일 전에 만료됨
certificate-not-yet = 아직 유효하지 않음
certificate-key = 키: { $key }
certificate-for-issuing = 인증서 발급용
certificate-for-servers = 서버용
certificate-for-clients = 클라이언트용
certificate-signature = 서명: { $signature }
certificate-serial = 일련번호: { $serial }
certificate-fingerprint = SHA-256: { $fingerprint }
cert-authority-made = 로컬 인증 기관을 만들었습니다: { $file } (신뢰하는 방법은 sotong cert ca가 알려 줍니다)
cert-new-server = { $names } 인증서({ $until }까지 유효)와 그 키:
cert-new-client = 클라이언트 { $name }의 인증서({ $until }까지 유효)와 그 키:
cert-list-empty = 아직 발급한 인증서가 없습니다. sotong cert new NAME으로 발급합니다.
cert-list-gone = 지금은 없음
cert-ca-file = 파일: { $file }
cert-ca-trust = 이 인증서를 신뢰하면 이 기관이 발급한 인증서도 신뢰하게 됩니다:
cert-ca-system = 이 시스템의 프로그램:
cert-ca-no-system = 이 시스템의 프로그램: 시스템 설명서에 따라 인증 기관 인증서에 이 파일을 추가하십시오
cert-ca-browsers = Chromium (Firefox는 설정의 인증서, 인증 기관에서 추가합니다):
cert-ca-programs = 프로그램 하나에서, 지정할 때만:
cert-check-ok = { $file }: 문제 없음, { $left }
found-expired = { $subject } 인증서가 { $at }에 만료되었습니다. 갱신하십시오.
found-expiring = { $subject } 인증서가 { $at }에 만료됩니다. 그 전에 갱신하십시오.
found-not-yet-valid = { $subject } 인증서는 { $at }부터 유효합니다. 이 컴퓨터의 시계를 확인하십시오.
found-incomplete = 체인이 온전하지 않습니다. { $issuer } 인증서가 파일에도 없고 이 시스템도 모릅니다. 다른 인증서 뒤에 추가하십시오.
found-disorder = 체인의 순서가 틀렸습니다. { $subject } 인증서는 바로 앞의 인증서를 발급하지 않았습니다. 발급한 인증서 뒤에 발급자의 인증서를 두십시오.
found-old-version = { $subject } 인증서는 X.509 버전 { $version }이어서 많은 클라이언트가 거절합니다. 버전 3으로 발급하십시오.
found-no-names = { $subject } 인증서는 이름이 주체에만 있어 클라이언트가 찾지 못합니다. subjectAltName을 넣어 발급하십시오.
cert-unreadable = { $file } 파일을 읽을 수 없습니다: { $why }.
cert-too-large = { $file } 파일은 { $most } MiB보다 커서 인증서 파일이 아닙니다. 이름을 확인하십시오.
cert-no-certificate = { $file } 파일에 인증서가 없습니다: { $holds }.
cert-no-key = { $file } 파일에 개인 키가 없습니다: { $holds }.
holds-not-a-byte = 비어 있습니다
holds-key = 개인 키가 들어 있습니다. 인증서 파일을 지정하십시오
holds-certificate = 인증서가 들어 있습니다. 그 키의 파일을 지정하십시오
holds-public-key = 공개 키가 들어 있습니다
holds-request = 인증서 요청이 들어 있습니다. 그 요청으로 발급받은 인증서의 파일을 지정하십시오
holds-binary-certificate = 이진 파일입니다. openssl x509 -inform DER -in { $file } 또는 openssl pkcs12 -in { $file } 명령으로 PEM으로 바꾸십시오
holds-binary-key = 이진 파일입니다. openssl pkey -inform DER -in { $file } 명령으로 PEM으로 바꾸십시오
holds-no-certificate = PEM에는 -----BEGIN CERTIFICATE----- 줄이 있어야 합니다
holds-no-key = PEM에는 -----BEGIN PRIVATE KEY----- 줄이 있어야 합니다
cert-damaged = { $file } 파일이 손상되었습니다. 중간에 잘렸을 수 있으니 원본에서 다시 복사하십시오.
cert-encrypted-key = { $file } 파일의 키가 암호화되어 있는데 서버는 암호를 물어볼 수 없습니다. openssl pkey -in { $file } -out FILE 명령으로 암호 없이 저장하십시오.
cert-unsupported-key = { $file } 파일의 키는 쓸 수 없습니다. 2048비트 이상의 RSA, P-256과 P-384의 ECDSA, Ed25519를 쓸 수 있습니다.
cert-key-mismatch = { $key } 파일의 키가 { $cert } 파일의 인증서와 맞지 않습니다. 함께 만든 것을 지정하십시오.
cert-leaf-not-first = { $file } 파일의 인증서 순서가 틀렸습니다. 키와 맞는 인증서가 처음에 있어야 합니다.
cert-expired = { $file } 파일의 인증서가 { $at }에 만료되었습니다. 갱신하십시오.
cert-not-yet-valid = { $file } 파일의 인증서는 { $at }부터 유효합니다. 이 컴퓨터의 시계를 확인하십시오.
cert-no-identity = TLS 서버에는 인증서가 필요합니다. 인증서와 키를 지정하거나 sotong cert new로 만드십시오.
cert-no-system-roots = 이 시스템에는 다른 인증서를 확인할 인증 기관 인증서가 없습니다. 설치하거나(대개 ca-certificates 패키지) --ca로 파일을 지정하십시오. SSL_CERT_FILE이나 SSL_CERT_DIR를 설정했다면 인증서가 있는 곳이어야 합니다.
cert-versions = { $min } 이상 { $max } 이하인 TLS 버전은 없습니다.
cert-bad-pin = '{ $text }'{ PARTICLE($text, "은/는") } 지문이 아닙니다. SHA-256은 16진수 64자이며 콜론은 있어도 없어도 됩니다.
cert-key-log = 키 로그 { $file }에 쓸 수 없습니다: { $why }.
cert-bad-name = '{ $text }'{ PARTICLE($text, "은/는") } 인증서에 쓸 수 없는 이름입니다: { $why }.
name-empty = 이름이나 그 일부가 비어 있습니다
name-too-long = 이름이나 그 일부가 너무 깁니다
name-character = '{ $bad }' 문자는 쓸 수 없습니다
name-hyphen = 각 부분은 붙임표로 시작하거나 끝날 수 없습니다
name-star = 별표는 *.example.com처럼 첫 부분 전체로만 쓸 수 있습니다
name-numeric = 숫자로 끝나지만 IP 주소가 아닙니다
name-idna = 이름이 될 수 없는 문자가 있습니다
cert-no-name = 인증서에는 이름이 필요합니다.
cert-authority-expired = 로컬 인증 기관이 { $at }에 만료되었고, 발급한 인증서도 모두 그렇습니다. { $folder } 디렉터리를 지우면 새로 만들어지니 그것을 신뢰하십시오.
cert-no-data-folder = 인증 기관을 보관할 디렉터리가 없습니다. XDG_DATA_HOME이나 HOME을 /로 시작하는 경로로 설정하십시오.
cert-exists = { $file } 파일이 이미 있습니다. --force로 덮어쓰거나 --out DIR로 다른 디렉터리에 쓰십시오.
cert-locked = 다른 프로세스가 { $file } 파일을 10초 동안 잡고 있습니다. 그 프로세스를 끝낸 뒤 다시 시도하십시오.
cert-library = 이 시스템에서 암호 라이브러리가 작동하지 않습니다: { $why }.
cert-key-readable = { $file } 파일의 키를 다른 사용자도 읽을 수 있습니다(모드 { $mode }). chmod 600 { $file } 명령으로 소유자만 읽게 하십시오.
cert-expires-soon = { $file } 파일의 인증서가 { $at }에 만료됩니다. 곧 갱신하십시오.
cert-chain-disorder = { $file } 파일의 인증서들이 차례대로 서로를 발급하지 않아 많은 클라이언트가 거절합니다. 발급한 인증서 뒤에 발급자의 인증서를 두십시오.

## sotong chat의 설정

config-faults = { $file } 파일을 쓸 수 없습니다. 잘못된 곳이 { $count }군데 있습니다.
config-more = { $count }군데 더 있습니다.
config-syntax = TOML 형식이 아닙니다: { $why }.
config-unknown-top = 첫 구역 앞에 '{ $key }' 설정은 없습니다.
config-unknown-key = [{ $section }] 구역에 '{ $key }' 설정은 없습니다.
config-unknown-section = [{ $name }] 구역은 없습니다.
config-no-section = 구역이므로 { $written }처럼 씁니다.
config-range = { $low } 이상 { $high } 이하의 정수를 써야 합니다.
config-choice = '{ $value }'{ PARTICLE($value, "은/는") } 쓸 수 없는 값입니다. 가능한 값: { $choices }.
config-value = { $why }.
config-datagrams = 대화에는 연결이 필요하므로 udp:// 주소는 쓸 수 없습니다.
config-ws-address = 주소는 ws:// 없이 쓰고, 그 아래에 kind = "websocket"을 쓰십시오.
config-too-many = [[{ $name }]] 구역은 최대 { $most }번까지 쓸 수 있습니다.
config-too-long = { $most }바이트를 넘습니다.
config-missing = [[{ $section }]] 구역에는 '{ $key }' 설정이 있어야 합니다.
config-conflict = '{ $other }' 설정도 있습니다. 둘 중 하나만 쓸 수 있습니다.
config-needs = '{ $other }' 설정이 없으면 뜻이 없습니다.
config-twice = { $value } 값이 두 번 나옵니다.
config-control = 제어 문자가 들어 있습니다.
config-word = 빈칸 없는 한 낱말을 씁니다.
config-vhost = 영문자, 숫자, 점, 붙임표, 콜론, 빗금을 최대 63자까지 씁니다.
config-origin = https://example.org 같은 출처나 *를 씁니다.
config-hash = 해시가 깨졌습니다. sotong chat --hash-password로 새로 만드십시오.
config-user-mode = 모드 '{ $mode }'{ PARTICLE($mode, "은/는") } 처음부터 가질 수 없습니다.
config-must-be-less = '{ $other }' 값보다 작아야 합니다.
config-must-be-more = '{ $other }'보다 커야 합니다.
config-not-off = 메모리에 두거나 한 줄에 들어가야 하는 것의 제한이라 끌 수 없습니다. { $low } 이상 { $high } 이하의 정수를 써야 합니다.
config-time-not-off = 기다리는 동안 다른 사람의 자리를 차지하는 것의 제한이라 끌 수 없습니다. 0보다 길어야 합니다.
config-sts-no-listener = IRC 클라이언트를 받는 [[listen]] 구역 중에 { $port } 포트가 없습니다. tls_cert가 있는 구역의 포트를 쓰십시오.
config-sts-no-certificate = { $port } 포트의 [[listen]] 구역에 tls_cert가 없습니다. TLS로만 오라는 말을 들은 클라이언트는 누군가 보증하는 인증서만 받아들입니다. 인증서를 적거나 enabled = false를 쓰십시오.
config-sts-self-signed = { $file }: 스스로 서명한 인증서입니다. TLS로만 오라는 말을 들은 클라이언트가 들어오지 못하게 됩니다. 클라이언트가 믿는 기관의 인증서를 쓰거나 enabled = false를 쓰십시오.
config-type-text = 따옴표로 감싼 글을 써야 합니다.
config-type-number = 따옴표 없는 정수를 써야 합니다.
config-type-bool = 따옴표 없이 true나 false를 써야 합니다.
config-type-time = "90s" 같은 시간이나 초 수를 써야 합니다.
config-type-size = 바이트 수나 "64KiB" 같은 크기를 써야 합니다.
config-type-list = 대괄호로 감싼 목록을 써야 합니다.
config-ok = { $file } 파일에 잘못된 곳이 없습니다.
config-history-later = { $file }: [history] 설정은 이후 버전부터 효력이 있습니다. 그때까지 메시지는 메모리에 둡니다.

config-about =
    sotong chat의 설정입니다. 모든 설정이 쓰지 않았을 때의 값으로 들어 있습니다.
    검사하기: sotong chat --check-config --config FILE
    사용하기: sotong chat --config FILE
    실행 중에 바꾸기: 파일을 고친 뒤 SIGHUP을 보내거나 운영자로서 REHASH를 씁니다. 아무도 끊기지 않고, 파일에 잘못이 있으면 아무것도 바뀌지 않습니다. 다시 시작해야 바뀌는 것에는 (시작) 표시가 있습니다.
    시간은 "500ms", "90s", "10m", "2h" 또는 초 수로, 크기는 바이트 수나 "64KiB", "1MiB"로 씁니다.
config-top-data-dir = 다시 시작해도 남아야 하는 것을 두는 곳입니다. 이 파일을 기준으로 한 경로입니다. (시작)
config-server = 통신에 나타나는 서버의 모습입니다.
config-server-name = 서버가 스스로를 부르는 이름입니다. 영문자, 숫자, 붙임표, 점으로 되어 있고 점이 하나는 있어야 합니다. (시작)
config-server-network = 네트워크의 이름, 한 낱말입니다. (시작)
config-server-description = LINKS와 WHOIS에서 서버가 자신을 소개하는 말입니다. 비우면 네트워크의 이름입니다.
config-server-lobby = nc로 온 사람이 들어오는 방입니다.
config-server-password = 모두가 PASS로, 터미널에서는 물을 때 내야 하는 비밀번호입니다. 그대로 쓰거나 sotong chat --hash-password가 출력한 해시를 씁니다. 비어 있으면 필요 없습니다.
config-server-casemapping = 이름에서 같은 글자로 보는 대소문자입니다. ASCII 글자만 해당하며 나머지는 구별합니다. (시작)
config-server-motd = 오늘의 말씀입니다. 여러 줄은 따옴표 세 개로 감쌉니다.
config-server-motd-file = 파일에서 읽는 오늘의 말씀입니다.
config-server-cloak-addresses = 어디에서 왔는지를 감춘 모습으로 보입니다. 끄면 다른 사람이 주소를 보고, 이름을 찾으면 그 이름을 봅니다.
config-server-resolve-hostnames = 들어오는 사람의 주소 이름을 찾습니다. 그 이름에 그 주소가 있어야 인정합니다. 주소를 감추지 않을 때 보이며, 운영자는 언제나 보고 KLINE에도 언제나 걸립니다.
config-server-check-ident = 들어오는 사람의 컴퓨터에 사용자를 묻습니다(ident, RFC 1413). 답을 얻은 사용자 앞에는 ~가 없습니다.
config-server-allowed-origins = 서버 자신의 페이지 외에 WebSocket을 열 수 있는 출처입니다. "https://example.org", 모두 허용하려면 "*".
config-server-proxy-allowed-from = PROXY 헤더로 누구를 대신해 왔는지 말할 수 있는 주소와 "10.0.0.0/8" 같은 네트워크입니다.
config-server-default-user-modes = 모두가 처음부터 가지는 모드입니다. 예: "i".
config-server-relaymsg = 다리 놓는 봇이 빗금이 든 다른 사람의 이름으로 말하게 합니다(RELAYMSG).
config-server-roleplay = 모드 E인 방에서 다른 인물로 말하게 합니다(NPC, SCENE).
config-listen =
    대화 서버가 수신 대기할 곳입니다. 주소마다 한 번씩 여러 번 쓸 수 있습니다. (시작)
    명령줄에 ADDR을 쓰면 이 구역들을 대신합니다.
config-listen-address = HOST:PORT, :PORT, *:PORT, [::1]:PORT, unix:경로를 씁니다. TLS만 쓰려면 tls://HOST:PORT를 씁니다.
config-listen-kind = auto는 클라이언트가 쓰는 대로, irc, websocket, text(nc용), web은 그것만 받습니다.
config-listen-proxy = 앞에 프록시가 있어 PROXY 헤더를 보냅니다. 이때는 이 컴퓨터의 주소도 셉니다.
config-listen-tls = tls_cert가 없으면 스스로 만든 인증서로 TLS를 씁니다. kind = "auto"에서는 평문 클라이언트도 받고, 다른 종류에서는 TLS만 받습니다.
config-listen-tls-cert = 인증서와 그 사슬이 든 PEM 파일입니다. SIGHUP을 받으면 다시 읽습니다.
config-listen-tls-key = 키가 같은 파일에 없을 때 키 파일입니다.
config-accounts = 계정과, 계정을 가질 수 있는 사람입니다.
config-accounts-register = NickServ나 REGISTER로 계정을 만들 수 있습니다.
config-accounts-register-before-connect = 들어오기 전에도 만들 수 있습니다.
config-accounts-email-required = 계정에 전자 우편 주소가 필요합니다. 운영자를 위해 두며, 아무것도 보내지 않습니다.
config-accounts-nick-is-account = 계정 이름과 같은 닉은 그 계정만 씁니다.
config-accounts-multiclient = 한 계정의 여러 클라이언트가 닉 하나를 함께 씁니다.
config-accounts-always-on = 클라이언트가 없을 때도 닉과 방을 유지하는 사람입니다. off, opt-in, opt-out, mandatory.
config-accounts-password-hash-cost = default를 씁니다. test는 가장 싼 것으로 시험 도구에서만 씁니다. (시작)
config-accounts-login-attempts = 한 주소에서 한 계정에 1분 동안 시도할 수 있는 비밀번호 수입니다. 0이면 제한이 없습니다.
config-history = 지난 대화입니다. 이후 버전까지 메시지는 메모리에만 둡니다. 그동안은 keep_messages만 효력이 있고 나머지는 검사만 합니다.
config-history-enabled = 메시지를 보관합니다.
config-history-durability = durable은 확인해 준 것이 모두 디스크에 있습니다. relaxed는 정전 때 마지막 순간을 잃을 수 있습니다.
config-history-chathistory-max = 한 번에 요청할 수 있는 메시지 수입니다.
config-history-znc-max = ZNC에 하듯 요청하는 클라이언트에 대한 수입니다.
config-history-redact-own = 자기가 한 말을 거둘 수 있습니다.
config-history-store-tagmsg = 이 태그가 있는 TAGMSG를 보관합니다.
config-history-keep-days = 메시지를 보관하는 날 수입니다. 0이면 계속 보관합니다.
config-history-keep-messages = 방마다 보관하는 메시지 수입니다. 지금도 메모리에 이만큼까지 둡니다. 0이면 모두 보관합니다.
config-metadata = 사람과 방에 대해 키별로 적어 두는 것입니다.
config-metadata-enabled = 적을 수 있습니다.
config-metadata-max-subs = 클라이언트가 변경을 알려 달라고 할 수 있는 키의 수입니다. 0이면 제한하지 않습니다.
config-metadata-max-keys = 한 사람이나 방의 키 수입니다. 0이면 64 KiB까지라는 것 말고는 제한하지 않습니다.
config-metadata-before-connect = 들어오기 전에도 적을 수 있습니다.
config-sts = 클라이언트에게 TLS로만 오라고 알립니다(IRCv3 STS). 클라이언트는 이를 기억하고 그동안 다른 길로 오지 않으므로, 모두에게 TLS가 잘 되는 것을 보고 나서 켭니다.
config-sts-enabled = 알립니다.
config-sts-port = 클라이언트를 보낼 포트입니다. 스스로 서명하지 않은 tls_cert가 있는 [[listen]] 구역의 포트여야 합니다.
config-sts-duration = 기억하는 기간입니다. 거두려면 0을 쓰고, 모두가 다녀갈 때까지 켜 둡니다.
config-sts-preload = 프로그램에 미리 넣어 배포해도 됩니다.
config-limits = 제한입니다. 따로 말한 곳에서 0은 제한이 없다는 뜻입니다.
config-limits-nick-len = 닉의 글자 수입니다.
config-limits-channel-len = 방 이름의 글자 수입니다.
config-limits-topic-len = 주제의 바이트 수입니다.
config-limits-kick-len = 내보내거나 나가거나 떠나는 까닭의 바이트 수입니다.
config-limits-away-len = AWAY로 하는 말의 바이트 수입니다.
config-limits-realname-len = 실제 이름의 바이트 수입니다.
config-limits-key-len = 방 열쇠의 바이트 수입니다.
config-limits-list-modes = 방의 목록(차단 등)마다 항목 수입니다. 0이면 제한이 없습니다.
config-limits-modes = MODE 한 번에 바꿀 수 있는 수입니다. 0이면 한 줄에 들어가는 만큼입니다.
config-limits-targets = 메시지 하나의 대상 수입니다. 0이면 한 줄에 들어가는 만큼입니다.
config-limits-channels = 한 사람이 동시에 들어가 있는 방 수입니다. 0이면 제한이 없습니다.
config-limits-monitor = 한 사람이 지켜보는 닉 수입니다. 0이면 제한이 없습니다.
config-limits-whowas = WHOWAS를 위해 기억하는 닉 수입니다. 0이면 기억하지 않습니다.
config-limits-multiline-bytes = 여러 줄 메시지의 바이트 수입니다.
config-limits-multiline-lines = 여러 줄 메시지의 줄 수입니다. 0이면 바이트 수만 제한합니다.
config-limits-receive-queue-bytes = 줄 끝 없이 올 수 있는 바이트 수입니다. 태그를 포함한 한 줄(4,608바이트)을 넘는 부분은 버립니다.
config-limits-send-queue-low-bytes = 읽지 않은 것이 이만큼까지 줄면 그 클라이언트의 말을 다시 듣습니다. send_queue_high_bytes보다 작아야 합니다. (시작)
config-limits-send-queue-high-bytes = 읽지 않은 것이 이보다 많으면 읽을 때까지 그 클라이언트의 말을 듣지 않습니다. send_queue_bytes보다 작아야 합니다. (시작)
config-limits-send-queue-bytes = 클라이언트가 읽지 않고 쌓아 둘 수 있는 바이트 수입니다. 넘으면 끊습니다. (시작)
config-limits-memory-bytes = 모든 연결을 위해 메모리에서 기다릴 수 있는 바이트 수입니다. 90 %에서는 가장 많이 쌓인 연결을 끊고, 95 %에서는 아무도 받지 않습니다. 0이면 제한이 없습니다. (시작)
config-limits-stall-time = 읽을 것이 있는데도 이만큼 아무것도 읽지 않으면 끊습니다. (시작)
config-limits-drain-time = 서버가 끝날 때 연결들이 마무리할 수 있는 시간입니다. (시작)
config-limits-flood-control = false면 부하 시험을 위해 명령과 새 연결을 늦추지 않습니다. 로그인에는 login_attempts가 그대로 있습니다.
config-limits-commands-at-once = 한꺼번에 받는 명령 수입니다. 0이면 제한이 없습니다.
config-limits-command-time = 그다음 명령마다 드는 시간입니다. 0이면 들지 않습니다.
config-limits-connections = 서버의 연결 수입니다. 시스템의 디스크립터 제한이 허용하는 만큼까지이며, 0이면 그만큼 받습니다. (시작)
config-limits-connections-per-address = 한 주소에서 동시에 올 수 있는 연결 수입니다. 0이면 새 연결까지 제한이 없습니다. 이 컴퓨터의 주소는 세지 않습니다.
config-limits-new-connections-per-address = 한 주소에서 10분 동안 새로 올 수 있는 연결 수입니다. 0이면 제한이 없습니다.
config-limits-new-accounts-per-address = 한 주소에서 10분 동안 만들 수 있는 계정 수입니다. 0이면 제한이 없습니다.
config-limits-accounts-max = 서버의 계정 수입니다. 0이면 제한이 없습니다.
config-limits-registered-rooms-max = 서버에 등록할 수 있는 방의 수입니다. 0이면 제한이 없습니다.
config-limits-rooms-per-account-max = 한 계정이 등록할 수 있는 방의 수입니다. 0이면 제한이 없습니다.
config-limits-certs-per-account-max = 한 계정의 인증서 수입니다. 0이면 제한이 없습니다.
config-limits-password-bytes = 비밀번호의 바이트 수입니다.
config-limits-log-bytes = 보관하는 대화가 차지하는 메모리 전체입니다. 넘으면 오래된 것부터 버립니다.
config-limits-registration-time = 온 사람은 이 시간 안에 들어와야 합니다. 0이면 제한이 없습니다.
config-limits-lookup-time = 찾아보는 것을 이만큼 기다리고, 그 뒤에는 없이 들어옵니다.
config-limits-registration-lines = 들어올 때까지 쓸 수 있는 줄 수입니다. 0이면 제한이 없습니다.
config-limits-ping-after = 이만큼 말이 없으면 있는지 묻습니다. 0이면 묻지 않습니다.
config-limits-cut-after = 이만큼 말이 없으면 끊습니다. 0이면 끊지 않습니다.
config-limits-held-answers = 진행 중인 일 때문에 답을 기다리는 명령 수입니다.
config-limits-name-time = nc로 온 사람이 서버의 비밀번호(있을 때)와 이름을 말해야 하는 시간입니다. 0이면 제한이 없습니다.
config-limits-name-tries = 그 사람이 시도할 수 있는 이름 수이자 비밀번호 수입니다. 0이면 제한이 없습니다.
config-limits-proxy-time = 프록시가 누구를 데려오는지 말해야 하는 시간입니다. 0이면 제한이 없습니다.
config-limits-tls-handshake-time = TLS 핸드셰이크를 마쳐야 하는 시간입니다. (시작)
config-limits-http-head-time = 요청의 머리가 모두 와야 하는 시간입니다. 0이면 제한이 없습니다.
config-limits-http-idle-time = 요청이 없는 연결은 이만큼 지나면 닫습니다. 0이면 닫지 않습니다.
config-limits-http-head-bytes = 요청 머리의 바이트 수입니다.
config-limits-http-target-bytes = 요청 대상의 바이트 수입니다. http_head_bytes보다 작아야 합니다.
config-limits-http-fields = 머리의 필드 수입니다.
config-limits-websocket-upgrade-time = 웹소켓이 열려야 하는 시간입니다. 0이면 제한이 없습니다.
config-limits-websocket-message-bytes = 웹소켓 메시지의 바이트 수이며, 압축된 것은 푼 뒤의 크기입니다. 제어 프레임은 RFC 6455에 따라 125바이트입니다.
config-limits-websocket-fragments = 그런 메시지의 조각 수입니다. 0이면 제한이 없습니다.
config-limits-websocket-deflate = true면 웹소켓 메시지를 압축할 수 있습니다. 압축하지 않을 때보다 CPU가 몇 배 더 듭니다.
config-webirc = IRC 웹 페이지의 것과 같이, 데려온 사람이 어디에서 왔는지를 WEBIRC로 말하는 게이트웨이입니다. 여러 번 쓸 수 있습니다.
config-webirc-allowed-from = 게이트웨이가 오는 주소와 네트워크입니다.
config-webirc-password = sotong chat --hash-password가 출력한 해시입니다. 그대로 쓰는 것은 시험에서만 합니다. 해시는 데려오는 클라이언트마다 계산합니다. 비어 있으면 인증서만으로 충분합니다.
config-webirc-certificate = 게이트웨이가 보여야 하는 클라이언트 인증서의 SHA-256 지문입니다.
config-oper = OPER NAME PASSWORD로 운영자가 되는 사람입니다. 여러 번 쓸 수 있습니다.
config-oper-name = 이름입니다.
config-oper-password = sotong chat --hash-password가 출력한 해시입니다. 그대로 쓰는 것은 시험에서만 합니다. 비어 있으면 인증서만으로 충분합니다.
config-oper-certificate = 운영자가 보여야 하는 클라이언트 인증서의 SHA-256 지문입니다.
config-oper-class = 할 수 있는 일입니다. admin은 모두, moderator는 내보내고 막기, helper는 더 많이 보기입니다.
config-oper-vhost = 그때부터 호스트로 보이는 이름입니다.
